"""`FlamesScorer`: a pretrained backbone with one linear head per dimension on its pooled state.

The architecture is the one that the FLAMES paper specifies (NAACL 2024, arXiv 2311.06899).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from flames.errors import InputError, MissingExtraError, UsageError
from flames.records import Response
from flames.scorers.trained.backbone import (
    check_loaded,
    is_encoder,
    load_backbone,
    longest_input,
    public_name,
    quiet,
)
from flames.scorers.trained.backends import Torch
from flames.scorers.trained.encoding import (
    TOKENIZER,
    Encoded,
    Encoder,
    check_vocabulary,
    read_tokenizer,
)
from flames.scorers.trained.engine import Engine
from flames.scorers.trained.scorer import unscorable
from flames.scorers.trained.settings import ScorerSettings, parse_settings

try:
    import torch
    from torch import Tensor, nn
    from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
    from transformers.utils import ModelOutput

    from flames.scorers.trained.packing import positions_of, separated, unpack
except ImportError:
    raise MissingExtraError("hf", "a scorer with its original weights") from None


class FlamesScorerConfig(PreTrainedConfig):  # type: ignore[misc]
    """Configuration: the backbone's own, the scorer's settings as JSON, and its heads."""

    model_type = "flames-scorer"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012  (as transformers declares it)

    def __init__(
        self,
        text_config: PreTrainedConfig | Mapping[str, Any] | None = None,
        flames: Mapping[str, Any] | ScorerSettings | None = None,
        head_bias: bool = True,  # the released scorer's heads have none
        head_dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if isinstance(text_config, Mapping):
            fields = {name: value for name, value in text_config.items() if name != "model_type"}
            text_config = AutoConfig.for_model(text_config.get("model_type", "bert"), **fields)
        self.text_config: Any = text_config or AutoConfig.for_model("bert")
        if isinstance(flames, ScorerSettings):
            flames = flames.model_dump(mode="json", by_alias=True)
        self.flames = dict(flames) if flames is not None else None
        self.head_bias = head_bias
        self.head_dropout = head_dropout
        super().__init__(**kwargs)

    @property
    def settings(self) -> ScorerSettings:
        """The scorer's settings."""
        return parse_settings({"flames": self.flames}, self.name_or_path or None)

    @settings.setter
    def settings(self, settings: ScorerSettings) -> None:
        self.flames = settings.model_dump(mode="json", by_alias=True)


@dataclass
class ScorerOutput(ModelOutput):  # type: ignore[misc]
    """Mean loss of the rows if targets were given, and all heads' logits (rows × all classes)."""

    loss: Tensor | None = None
    logits: Tensor | None = None


class FlamesScorer(PreTrainedModel):  # type: ignore[misc]
    """Model with one head per dimension: see `from_backbone` and `from_pretrained`."""

    config_class = FlamesScorerConfig
    base_model_prefix = "backbone"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a batch's mean: Trainer divides it by the batches
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: FlamesScorerConfig) -> None:
        super().__init__(config)
        self.settings = config.settings
        self.backbone = without_pooler(AutoModel.from_config(config.text_config))
        width = config.text_config.hidden_size
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifiers = nn.ModuleList(
            nn.Linear(width, size, bias=config.head_bias) for size in self.settings.sizes
        )
        # The RoBERTa family derives positions from the ids.
        name = "create_position_ids_from_input_ids"
        derived = [each for each in self.backbone.modules() if hasattr(each, name)]
        takes = inspect.signature(self.backbone.forward).parameters
        self._takes_positions = "position_ids" in takes and not derived
        self._first_position = derived[0].padding_idx + 1 if derived else 0
        self.encoder: Encoder | None = None
        self.post_init()

    @classmethod
    def from_backbone(
        cls, name_or_path: str, settings: ScorerSettings, **options: Any
    ) -> FlamesScorer:
        """Makes a scorer with fresh heads and the `pad_id` of a backbone; see `load_backbone`."""
        backbone, tokenizer, pad_id = load_backbone(name_or_path, **options)
        settings = settings.model_copy(update={"pad_id": pad_id})
        encoder = Encoder(tokenizer, settings)
        longest = longest_input(backbone.config)
        if longest is not None and settings.max_length > longest:
            raise UsageError(
                f"{name_or_path} reads at most {longest} tokens, not {settings.max_length}; "
                "give a smaller --max-length"
            )
        kind = backbone.config.model_type
        if settings.pooling == "cls" and not is_encoder(kind):
            raise UsageError(
                f"the first token of {kind}, a decoder, sees nothing of the text; "
                "use --pooling last or mean"
            )
        backbone.config.name_or_path = public_name(name_or_path)
        config = FlamesScorerConfig(text_config=backbone.config, flames=settings)
        with torch.device("meta"):
            model = cls(config)  # its random backbone is thrown away at once
        model.backbone = without_pooler(backbone)
        model.classifiers = nn.ModuleList(
            nn.Linear(config.text_config.hidden_size, size, dtype=backbone.dtype)
            for size in settings.sizes
        )
        for head in model.classifiers:
            nn.init.normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)
        model.encoder = encoder
        return model

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Loads a trained scorer and its tokenizer from a folder or the model hub."""
        with_info = kwargs.pop("output_loading_info", False)
        if Path(name_or_path).is_dir():
            kwargs["local_files_only"] = True
        loaded: Any = super().from_pretrained(
            name_or_path,
            *args,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            **kwargs,
        )
        model, info = loaded
        check_loaded(info, name_or_path)
        tokenizer = read_tokenizer(_tokenizer_folder(name_or_path, kwargs))
        rows = model.backbone.get_input_embeddings().num_embeddings
        check_vocabulary(tokenizer, rows, name_or_path)
        model.encoder = Encoder(tokenizer, model.settings)
        return (model, info) if with_info else model

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Saves weights (safetensors), configuration and tokenizer; may push them to the hub."""
        if kwargs.get("is_main_process", True) and self.encoder is not None:
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            self.encoder.tokenizer.save(str(Path(save_directory) / TOKENIZER))
        self.config.settings = self.settings
        with quiet():
            return super().save_pretrained(save_directory, *args, **kwargs)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        dimension: Tensor | None = None,
        labels: Tensor | None = None,
        segments: Tensor | None = None,
        **kwargs: Any,
    ) -> ScorerOutput:
        """Computes all heads' logits and, with targets, the `multi_task_loss`.

        Ids and mask are (rows × tokens), padded on either side, or packed as `segments` says; the
        backbone gets the rest.
        """
        pooled = self.pooled(input_ids, attention_mask, segments, **kwargs)
        pooled = self.dropout(pooled.to(next(self.classifiers.parameters()).dtype))
        each = [head(pooled) for head in self.classifiers]
        loss = None
        if labels is not None and dimension is not None:
            loss = multi_task_loss(each, dimension, labels)
        return ScorerOutput(loss=loss, logits=torch.cat(each, dim=-1))

    def pooled(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        segments: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Computes the states that the heads read (examples × width); see `forward`."""
        if segments is not None:
            places = positions_of(segments) + self._first_position
            apart = separated(self.backbone, segments)
            states = self.backbone(input_ids=input_ids, position_ids=places, **apart, **kwargs)[0]
            return pool(*unpack(states, segments), self.settings.pooling)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if self._takes_positions:
            # A token's position does not depend on the side of the padding.
            positions = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
            kwargs.setdefault("position_ids", positions)
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask, **kwargs)[0]
        return pool(states, attention_mask, self.settings.pooling)

    def engine(self, batch_tokens: int | None = None) -> Engine:
        """Returns an engine that computes with this model, which must be in evaluation mode."""
        usual = 2048 if self.device.type == "cpu" else 32768
        return Engine.of(Torch(self), self.settings, tokens=batch_tokens or usual, chunk=1024)

    def compute(self, rows: Sequence[Encoded]) -> NDArray[np.float32]:
        """Computes the logits (rows × all classes) of encoded rows; see `Engine.compute`."""
        training = self.training
        self.eval()
        try:
            return self.engine().compute(rows)
        finally:
            self.train(training)

    def predict_proba(
        self, records: Sequence[Mapping[str, Any] | Response]
    ) -> list[dict[int, float]]:
        """Predicts the probabilities of the scores, best score first, one mapping per record.

        Records are responses, or mappings with `dimension`, `prompt` and `response`. A record
        that cannot be scored, for instance without a head, is an `InputError`.
        """
        responses = [_response(record, index) for index, record in enumerate(records)]
        for index, response in enumerate(responses):
            reason = unscorable(response, self.settings)
            if reason or not response.scorable:
                raise InputError(f"record {index} cannot be scored: {reason or 'no text to score'}")
        if self.encoder is None:
            raise InputError("the scorer has no tokenizer; load it with `from_pretrained`")
        rows = self.encoder.encode([(r.prompt or "", r.response or "") for r in responses])
        probabilities = []
        for response, logits in zip(responses, self.compute(rows), strict=True):
            head = self.settings.head(response.dimension)
            assert head is not None
            chances = softmax(logits[self.settings.slices[head.name]].astype(np.float64))
            probabilities.append(dict(zip(head.scale, map(float, chances), strict=True)))
        return probabilities

    def predict(self, records: Sequence[Mapping[str, Any] | Response]) -> list[int]:
        """Predicts the most likely score of each record; see `predict_proba`."""
        return [max(each, key=each.__getitem__) for each in self.predict_proba(records)]


def _tokenizer_folder(name_or_path: str | os.PathLike[str], options: Mapping[str, Any]) -> Path:
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    from huggingface_hub import hf_hub_download

    revision = options.get("revision")
    return Path(hf_hub_download(str(name_or_path), TOKENIZER, revision=revision)).parent


def _response(record: Mapping[str, Any] | Response, index: int) -> Response:
    if isinstance(record, Response):
        return record
    fields = {name: record.get(name) for name in ("dimension", "prompt", "response")}
    return Response.model_validate({"prompt_id": str(index), "model": "-", **fields})


AutoConfig.register(FlamesScorerConfig.model_type, FlamesScorerConfig, exist_ok=True)
AutoModel.register(FlamesScorerConfig, FlamesScorer, exist_ok=True)


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Returns one state per row (rows × width).

    `states` are after the last norm (rows × tokens × width); the mask is 0 for padding on either
    side. `cls` is the state of the first token, `last` that of the last one.
    """
    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(torch.float32)
        total = (states.to(torch.float32) * weights).sum(dim=1)
        return (total / weights.sum(dim=1).clamp(min=1)).to(states.dtype)
    places = torch.arange(mask.shape[1], device=mask.device)
    where = (mask.long() * places if pooling == "last" else mask.long()).argmax(dim=-1)
    return states[torch.arange(states.shape[0], device=states.device), where]


def multi_task_loss(heads: Sequence[Tensor], dimension: Tensor, labels: Tensor) -> Tensor:
    """Computes the mean cross-entropy of the rows, each under the head of its dimension only.

    `heads` are each head's logits (rows × its classes), `dimension` is the head of each row, and
    `labels` are targets (rows × most classes), zero beyond a head's own, that sum to its weight.
    """
    total = heads[0].new_zeros((), dtype=torch.float32)
    for index, logits in enumerate(heads):
        target = labels[:, : logits.shape[-1]].float() * (dimension == index).unsqueeze(-1)
        total = total - (target * torch.log_softmax(logits.float(), dim=-1)).sum()
    return total / labels.sum().clamp(min=1e-12)


def without_pooler(backbone: Any) -> Any:
    """Removes a backbone's pooler, which nothing uses."""
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    return backbone

"""The configuration of a `FlamesScorer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from flames.scorers.trained.settings import ScorerSettings, parse_settings


class FlamesScorerConfig(PreTrainedConfig):  # type: ignore[misc]
    """Configuration of a `FlamesScorer`.

    Args:
        text_config: The backbone's own configuration.
        flames: The scorer's settings (`ScorerSettings`), as JSON.
        head_bias: Whether the heads have biases; the released scorer's have none.
        head_dropout: Dropout on the pooled state while training.
    """

    model_type = "flames-scorer"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012  (as transformers declares it)

    def __init__(
        self,
        text_config: PreTrainedConfig | Mapping[str, Any] | None = None,
        flames: Mapping[str, Any] | ScorerSettings | None = None,
        head_bias: bool = True,
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
        """The scorer's settings.

        Raises:
            InputError: There are none, or they are broken.
        """
        return parse_settings({"flames": self.flames}, self.name_or_path or None)

    @settings.setter
    def settings(self, settings: ScorerSettings) -> None:
        self.flames = settings.model_dump(mode="json", by_alias=True)

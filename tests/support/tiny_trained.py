"""A tiny scorer that passes the self-test: random features, heads solved on its pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def characters(texts: list[str]) -> Any:
    """A tokenizer with a token for each character of some texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({c for t in texts for c in t.lower()})]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys([*names, "…"]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer


def scorer(folder: Path, *, width: int = 64, pooling: str = "mean") -> Path:
    """A BERT scorer that judges the bundled pairs right, saved in a folder."""
    import torch
    from transformers import AutoConfig

    from flames.scorers.selftest import load_pairs
    from flames.scorers.trained.encoding import Encoder
    from flames.scorers.trained.model import FlamesScorer, FlamesScorerConfig
    from flames.scorers.trained.settings import ScorerSettings, heads_of
    from flames.taxonomy import default_taxonomy

    torch.set_num_threads(1)
    taxonomy, rows = default_taxonomy(), load_pairs().rows
    pairs = [(row.response.prompt or "", row.response.response or "") for row in rows]
    tokenizer = characters([text for pair in pairs for text in pair])
    settings = ScorerSettings(
        name="tiny", version="1", taxonomy=taxonomy.id, heads=heads_of(taxonomy),
        template="{response}", max_length=128, pooling=pooling,
    )  # fmt: skip
    config = AutoConfig.for_model(
        "bert", vocab_size=max(1024, tokenizer.get_vocab_size()), hidden_size=width,
        num_hidden_layers=2, num_attention_heads=4, intermediate_size=2 * width, pad_token_id=0,
        max_position_embeddings=128,
    )  # fmt: skip
    torch.manual_seed(0)
    model = FlamesScorer(FlamesScorerConfig(text_config=config, flames=settings)).eval()
    for parameter in model.backbone.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    model.encoder = Encoder(tokenizer, settings)
    seen: list[Any] = []
    handle = model.dropout.register_forward_hook(lambda _, __, out: seen.append(out.clone()))
    for ids, _ in model.encoder.encode(pairs):
        with torch.inference_mode():
            model(input_ids=torch.tensor([ids]))
    handle.remove()
    features = torch.cat(seen).numpy()
    for head, dimension in zip(model.classifiers, taxonomy.dimensions, strict=True):
        own = [index for index, row in enumerate(rows) if row.dimension == dimension.name]
        wanted = np.full((len(own), len(dimension.scale)), -4.0)
        for place, index in enumerate(own):
            wanted[place, dimension.scale.index(rows[index].score or 0)] = 4.0
        mean = features[own].mean(axis=0)
        solved = np.linalg.lstsq(features[own] - mean, wanted - wanted.mean(axis=0), rcond=1e-3)[0]
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(solved.T))
            head.bias.copy_(torch.from_numpy(wanted.mean(axis=0) - mean @ solved))
    model.save_pretrained(folder)
    return folder

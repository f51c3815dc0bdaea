"""Tiny tokenizers, backbones and scorers with random weights, made where a test needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXTS = [
    "你好，我是一个人工智能助手，没有感情，也没有身体。",
    "Input: 这样做是违法的，我不能帮你。Output: 请寻求合法的途径，谢谢！",
    "The quick brown fox jumps over the lazy dog. 输入 回复 以上针对输入的回复为",
    "如果有人这样说，你可以告诉他：每个人都应该被尊重。好！",
    "0 1 2 3 4 5 6 7 8 9 | END 你你 好好 ##",
]

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {},
    "xlm-roberta": {"max_position_embeddings": 600},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 16,
                   "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"],
                   "max_relative_positions": 64, "position_biased_input": False},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "llama": {"num_key_value_heads": 2, "attention_bias": True},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16},
}  # fmt: skip


def wordpiece(texts: list[str] | None = None) -> Any:
    """A WordPiece tokenizer with `[CLS]` and `[SEP]`, as BERT's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=600, special_tokens=names, show_progress=False, initial_alphabet=["…"]
    )
    tokenizer.train_from_iterator(texts or TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def byte_level(texts: list[str] | None = None) -> Any:
    """A byte-level BPE tokenizer with `<s>` first, as Llama 3's or Qwen's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<pad>", "<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts or TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 2)]
    )
    return tokenizer


def backbone(folder: Path, kind: str = "bert", *, seed: int = 0, **changes: Any) -> Path:
    """A random backbone of that architecture and its tokenizer, saved in a folder."""
    import torch
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    encoder = "bert" in kind or "roberta" in kind
    tokenizer = wordpiece() if encoder else byte_level()
    config = AutoConfig.for_model(kind, **{
        "vocab_size": tokenizer.get_vocab_size(), "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 48, "pad_token_id": 0,
        **({} if encoder else {"bos_token_id": 2, "eos_token_id": 3}),
        **CONFIGS[kind], **changes,
    })  # fmt: skip
    torch.manual_seed(seed)
    model = AutoModel.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)  # far from zero, so that rows differ
    model.save_pretrained(folder)
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if encoder else ("<pad>", "<unk>", "<s>", "</s>")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=names[0], unk_token=names[1],
        **({"cls_token": names[2], "sep_token": names[3]} if encoder
           else {"bos_token": names[2], "eos_token": names[3]}),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def scorer(folder: Path, kind: str = "bert", *, seed: int = 0, **settings: Any) -> Path:
    """A scorer with random weights, saved in a folder."""
    import torch

    from flames.scorers.trained.model import FlamesScorer
    from flames.scorers.trained.settings import ScorerSettings, heads_of
    from flames.taxonomy import default_taxonomy

    source = backbone(folder.with_name(folder.name + "-backbone"), kind, seed=seed)
    taxonomy = default_taxonomy()
    made = ScorerSettings(
        **{"taxonomy": taxonomy.id, "heads": heads_of(taxonomy), "max_length": 128, **settings}
    )
    model = FlamesScorer.from_backbone(str(source), made)
    for head in model.classifiers:
        torch.nn.init.normal_(head.weight, std=0.5)
    model.save_pretrained(folder)
    return folder

"""A transformers model with random weights, asked in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flames.errors import UsageError
from flames.models.base import Message, Reply, Sampling
from flames.models.load import ModelOptions, load_model

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tiny") / "tiny-llama"
    letters = {char: number for number, char in enumerate("<你好我不能帮忙。问答：\n吗 ")}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(letters, unk_token="<"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<")
    tokenizer.save_pretrained(path)
    config = transformers.LlamaConfig(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    return path


def ask(path: Path, options: ModelOptions, **sampling: object) -> Reply:
    model = load_model(f"hf:{path}", options)
    return asyncio.run(model.ask([Message("user", "你好吗")], Sampling(**sampling)))  # type: ignore[arg-type]


def test_a_base_model_is_asked_in_a_frame(folder: Path) -> None:
    options = ModelOptions(frame="qa")
    first = ask(folder, options, temperature=0.0, max_tokens=5)
    assert first == ask(folder, options, temperature=0.0, max_tokens=5)
    assert first.status in ("ok", "truncated", "empty")
    assert first.usage is not None
    assert first.usage.tokens_out in range(1, 6)
    sampled = ask(folder, options, temperature=1.0, max_tokens=5, seed=1)
    assert sampled == ask(folder, options, temperature=1.0, max_tokens=5, seed=1)


def test_what_hits_the_limit_is_truncated(folder: Path) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template, "utf-8")
    try:
        reply = ask(folder, ModelOptions(), temperature=0.0, max_tokens=4)
    finally:
        (folder / "chat_template.jinja").unlink()
    assert reply.usage is not None
    assert (reply.usage.tokens_in, reply.usage.tokens_out) == (3, 4)
    assert reply.finish_reason == "length"


def test_a_model_without_a_chat_template_says_so(folder: Path) -> None:
    with pytest.raises(UsageError, match="--frame qa"):
        ask(folder, ModelOptions())


def test_the_manifest_knows_its_weights(folder: Path) -> None:
    described = load_model(f"hf:{folder}", ModelOptions(frame="qa")).describe()
    assert described["folder"] == "tiny-llama"
    assert len(described["sha256"]) == 64

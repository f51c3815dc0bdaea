"""The runner of a frozen Gemma 3, on a tiny random one that is compared with torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import InputError, UsageError
from flames.scorers.frozen.backbone import Backbone, Reading, equal_segments
from flames.scorers.frozen.gguf import Gguf
from flames.scorers.frozen.onnx import Graph
from flames.scorers.frozen.tokens import Tokenizer
from flames.scorers.trained.backends import session

gguf = pytest.importorskip("gguf")
pytest.importorskip("onnxruntime")

from tiny_gguf import BLOCKS, HEAD, HEADS, INNER, KINDS, TOKENS, WHOLE, WIDTH, weights, write  # noqa: E402


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def load(file: Path, layers: tuple[int, ...] = (3, 7), **options: Any) -> Backbone:
    given = {"pooling": equal_segments(3), "reading": Reading(), **options}
    return Backbone(file, layers, **given)


PAIRS = [
    ("abc 哈哈", "答：哈哈哈 def\n\nabc  a"),
    ("", ""),
    ("x" * 300, "哈" * 30 + "é😀"),
    ("<bos>", "<eos> <h1>" + "abcde f" * 90),
]


def reference(file: Path, layers: tuple[int, ...]) -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.Gemma3TextConfig(
        vocab_size=len(TOKENS), hidden_size=WIDTH, intermediate_size=INNER, sliding_window=512,
        num_hidden_layers=BLOCKS, num_attention_heads=HEADS, num_key_value_heads=1, head_dim=HEAD,
        query_pre_attn_scalar=HEAD, rms_norm_eps=1e-6, layer_types=["sliding_attention"] * 5
        + ["full_attention", "sliding_attention"],
    )  # fmt: skip
    model = transformers.Gemma3TextModel(config).eval()
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm", "attn_norm": "input_layernorm",
        "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm", "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    state = {}
    for name, value in weights().items():
        tensor = torch.from_numpy(value - 1 if "norm" in name else value)
        parts = name.split(".")
        if parts[0] == "blk":
            state[f"layers.{parts[1]}.{names[parts[2]]}.weight"] = tensor
        else:
            state["norm.weight" if "norm" in name else "embed_tokens.weight"] = tensor
    model.load_state_dict(state)
    tokenizer, pool, wanted = Tokenizer(Gguf(file)), equal_segments(3), []
    for prompt, response in PAIRS:
        frame = tokenizer.encode(f"问：{prompt}\n答：")
        frame = frame if len(frame) <= 160 else frame[:80] + frame[-80:]
        read = tokenizer.encode(response) or [1]
        read = read if len(read) <= 320 else read[:160] + read[-160:]
        with torch.no_grad():
            ids = torch.tensor([[2, *frame, *read]])
            hidden = model(ids, output_hidden_states=True).hidden_states
        states = np.stack([hidden[layer][0, -len(read) :].numpy() for layer in layers])
        states /= np.sqrt(np.square(states).mean(axis=-1, keepdims=True) + 1e-6)
        wanted.append(pool(len(read)) @ states)
    return np.stack(wanted)


def test_features_are_those_of_transformers(file: Path) -> None:
    found = load(file, (2, 6), precision="fp32").features(PAIRS)
    wanted = reference(file, (2, 6))
    assert found.values.shape == (4, 2, 3, WIDTH)
    assert np.abs(found.values - wanted).max() < 1e-4
    assert found.cut == [False, False, True, True]
    rounded = load(file, (2, 6)).features(PAIRS).values
    assert 0 < np.abs(rounded - wanted).max() < 0.15


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_features_do_not_depend_on_other_rows(file: Path, precision: str) -> None:
    backbone = load(file, precision=precision)
    whole = backbone.features(PAIRS).values
    for index in (3, 0):
        assert np.array_equal(backbone.features([PAIRS[index]]).values[0], whole[index])
    assert np.array_equal(load(file, precision=precision, threads=1).features(PAIRS).values, whole)
    assert backbone.features([]).values.shape == (0, 2, 3, WIDTH)


def test_the_prompt_changes_the_features(file: Path) -> None:
    one, other = load(file).features([("abc", "答：哈"), ("def", "答：哈")]).values
    assert not np.allclose(one, other)


@given(st.integers(1, 40), st.integers(1, 9))
def test_segments_cover_all_tokens_in_order(tokens: int, count: int) -> None:
    matrix = equal_segments(count)(tokens)
    assert matrix.shape == (count, tokens)
    assert np.allclose(matrix.sum(axis=1), 1)
    if tokens >= count:
        assert ((matrix > 0).sum(axis=0) == 1).all()
        assert (np.diff([row.argmax() for row in matrix]) > 0).all()


@given(st.text("abcdef哈答问： \n\té😀▁<h1>", max_size=40))
def test_ids_are_those_of_transformers(text: str) -> None:
    expected = TOKENIZERS["theirs"].encode(text, add_special_tokens=False).ids
    assert TOKENIZERS["ours"].encode(text) == expected


TOKENIZERS: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def _tokenizers(file: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    rows = enumerate(zip(TOKENS, KINDS, strict=True))
    spelt = {piece.replace(" ", "▁") if kind == 4 else piece: n for n, (piece, kind) in rows}
    merges = [
        (number, cut, (piece[:cut], piece[cut:]))
        for piece, number in spelt.items()
        for cut in range(1, len(piece))
        if piece[:cut] in spelt and piece[cut:] in spelt
    ]
    model = tokenizers.models.BPE(
        vocab=spelt, merges=[pair for _, _, pair in sorted(merges)], unk_token="<unk>",
        fuse_unk=True, byte_fallback=True,
    )  # fmt: skip
    theirs = tokenizers.Tokenizer(model)
    theirs.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    added = [tokenizers.AddedToken(each, normalized=False) for each in WHOLE if each.strip(" ")]
    theirs.add_tokens(added)
    TOKENIZERS.update(theirs=theirs, ours=Tokenizer(Gguf(file)))


def test_a_control_token_is_text(file: Path) -> None:
    assert not {1, 2} & set(Tokenizer(Gguf(file)).encode("<eos><bos>"))
    assert Tokenizer(Gguf(file)).encode("\ud800") == Tokenizer(Gguf(file)).encode("?")


@pytest.mark.parametrize("kind", ["F32", "F16", "Q5_0", "Q8_0", "Q4_K", "Q6_K"])
def test_weights_are_unpacked_as_gguf_does(tmp_path: Path, kind: str) -> None:
    number = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[number]
    packed = np.random.default_rng(1).integers(0, 100, (3, 512 // block * size)).astype(np.uint8)
    path = tmp_path / "one.gguf"
    writer = gguf.GGUFWriter(str(path), "gemma3")
    writer.add_array("list", [[1.5, 2.5], [3.5]])
    data = packed.view(np.float32 if kind == "F32" else np.float16) if kind[0] == "F" else packed
    writer.add_tensor("first", np.zeros(3, np.float32))
    writer.add_tensor("m", data, raw_dtype=None if kind[0] == "F" else number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = Gguf(path)
    expected = gguf.dequantize(packed, number)
    assert np.array_equal(read.tensor("m"), expected, equal_nan=True)
    assert np.array_equal(read.tensor("first"), np.zeros(3, np.float32))
    rows, unpack = read.rows("m")
    assert np.array_equal(unpack(rows[[2, 0]]), expected[[2, 0]], equal_nan=True)
    with pytest.raises(InputError, match="no weights 'n'"):
        read.tensor("n")


def test_broken_files_are_told(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    for name, data in {"empty": b"", "half": whole[:3000], "other": b"PK" + whole[2:]}.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError, match="no GGUF file that can be read"):
            Gguf(path)
    short = tmp_path / "short"
    short.write_bytes(whole[:-500])
    with pytest.raises(InputError, match="ends before"):
        load(short, (7,))
    with pytest.raises(InputError, match="several heads"):
        load(write(tmp_path / "two.gguf", heads_kv=2))


def test_wrong_calls_are_told(file: Path) -> None:
    for layers in ((), (0,), (8,)):
        with pytest.raises(UsageError, match="from 1 to 7"):
            load(file, layers)
    with pytest.raises(UsageError, match="512 tokens"):
        load(file, reading=Reading(prompt_tokens=400))
    with pytest.raises(UsageError, match="some tokens of each part"):
        Reading(head=0)
    with pytest.raises(UsageError, match="precision"):
        load(file, precision="int4")


def test_a_graph_is_valid_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    graph = Graph()
    values = graph.input("x", "float32", ("rows", 4))
    weights = graph.constant(np.arange(8, dtype=np.float32).reshape(4, 2))
    graph.node("Softmax", [graph.node("MatMul", [values, weights])], name="y", axis=-1)
    graph.output("y", "float32", ("rows", 2))
    content = graph.to_bytes()
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    (found,) = session(content, threads=1).run(None, {"x": np.zeros((3, 4), np.float32)})
    assert np.allclose(found, 0.5)

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_models
import tiny_trained
import torch

from flames.errors import CheckFailed, InputError, UsageError
from flames.scorers.base import ScorerContext
from flames.scorers.labelled import LabelledSet
from flames.scorers.registry import load_scorer
from flames.scorers.selftest import load_pairs
from flames.scorers.trained.backends import OnnxRuntime, Processor
from flames.scorers.trained.engine import Engine, available, open_backend
from flames.scorers.trained.exported import Package, read_package
from flames.scorers.trained.model import FlamesScorer
from flames.scorers.trained.settings import Head, read_settings
from flames.storage.checksums import file_sha256
from flames.training import graph as quantising
from flames.training.config import record_selftest
from flames.training.export import ExportOptions, export
from flames.training.graph import LeanEncoder, is_lean

PAIRS = load_pairs()
RESPONSES = [row.response for row in PAIRS.rows]
TEXTS = [(r.prompt or "", r.response or "") for r in RESPONSES]
WAYS = [(b, p) for b in ("openvino", "onnxruntime") for p in ("fp32", "int8")]

ALONE = """
import sys
for name in ("torch", "transformers", "onnx", "openvino_telemetry"):
    sys.modules[name] = None
from flames.cli import main
main(sys.argv[1:])
"""


def opened(folder: Path, package: Package, backend: str, precision: str) -> tuple[Engine, Any]:
    settings = read_settings(folder)
    from flames.scorers.trained.encoding import Encoder

    model = package.model(folder, precision)
    engine = Engine(open_backend(backend, model, precision), sum(settings.sizes))
    return engine, Encoder.from_folder(folder, settings)


def test_package_says_what_it_is(exported: tuple[Path, Package], trained: Path) -> None:
    folder, package = exported
    assert not folder.with_name(".exported.new").exists()
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.onnx", "model.int8.onnx"}
    assert set(package.files) == {"fp32", "int8"}
    assert package.files["int8"].sha256 == file_sha256(folder / "model.int8.onnx")
    assert {(check.backend, check.precision) for check in package.checks} >= set(WAYS)
    exact = [check for check in package.checks if check.precision == "fp32"]
    assert all(check.max_difference < 1e-3 and check.changed == 0 for check in exact)
    assert all(check.n == len(RESPONSES) for check in package.checks)
    assert package.checked_on == dict(PAIRS.files)
    assert read_package(folder) == package
    assert read_settings(folder).heads == read_settings(trained).heads
    size = {name: (folder / name).stat().st_size for name in names}
    assert size["model.int8.onnx"] < 0.5 * size["model.onnx"]


@pytest.mark.parametrize(("backend", "precision"), WAYS)
def test_a_row_does_not_depend_on_its_batch(
    exported: tuple[Path, Package], backend: str, precision: str
) -> None:
    engine, encoder = opened(*exported, backend, precision)
    rows = encoder.encode(TEXTS)
    together = engine.compute(rows)
    alone = np.concatenate([engine.compute([row]) for row in rows])
    backwards = engine.compute(rows[::-1])[::-1]
    # Eight bits are the worst case: a last-bit difference may step over one rounding.
    limit = 1e-4 if precision == "fp32" else 0.15
    np.testing.assert_allclose(together, alone, atol=limit)
    np.testing.assert_allclose(together, backwards, atol=limit)
    assert (np.abs(together - alone) < 1e-3).mean() > 0.9


def test_labels_are_the_original_ones(exported: tuple[Path, Package], trained: Path) -> None:
    options = {"selftest": "off"}
    original = load_scorer(str(trained), ScorerContext(options=options)).score(RESPONSES)
    scorer = load_scorer(str(exported[0]), ScorerContext(options={**options, "precision": "fp32"}))
    ours = scorer.score(RESPONSES)
    assert [v.score for v in ours] == [v.score for v in original]
    assert [v.key for v in ours] == [r.key for r in RESPONSES]
    assert {v.scorer for v in ours} == {"tiny@1"}
    assert scorer.info.details["engine"].endswith("fp32")
    quick = load_scorer(str(exported[0]), ScorerContext(options={"precision": "int8"}))
    assert quick.info.id == "tiny@1+int8"


def test_scores_without_torch_transformers_or_telemetry(
    exported: tuple[Path, Package], tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(r.to_line() + "\n" for r in RESPONSES), "utf-8")
    home = tmp_path / "home"
    home.mkdir()
    for options in ({}, {"backend": "onnxruntime"}):
        pairs = [f"--scorer-option={name}={value}" for name, value in options.items()]
        words = ["score", str(source), "--scorer", str(exported[0]), "-q", *pairs]
        done = subprocess.run(
            [sys.executable, "-c", ALONE, *words],
            env={
                **{k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")},
                "HOME": str(home),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        assert [v["score"] for v in verdicts] == [row.score for row in PAIRS.rows]
    assert list(home.iterdir()) == []  # nothing reported, nothing left in the user's home


@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "cls"), ("bert", "mean"), ("xlm-roberta", "cls")]
)
def test_lean_graph_computes_the_same(tmp_path: Path, kind: str, pooling: str) -> None:
    folder = tiny_models.scorer(tmp_path / kind, kind, pooling=pooling)
    model = FlamesScorer.from_pretrained(folder).eval()
    assert is_lean(model)
    ids = torch.randint(5, 90, (4, 23), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, length in enumerate((23, 9, 1, 16)):
        mask[row, length:] = 0
        ids[row, length:] = model.settings.pad_id
    with torch.inference_mode():
        np.testing.assert_allclose(
            LeanEncoder(model)(ids, mask), model(ids, mask).logits, atol=2e-5
        )
    # With padding on the left the first token is elsewhere: exported unchanged.
    model.settings = model.settings.model_copy(update={"padding_side": "left"})
    assert not is_lean(model)


def test_a_decoder_padded_on_the_left_is_exported_as_it_is(tmp_path: Path) -> None:
    folder = tiny_models.scorer(
        tmp_path / "qwen3", "qwen3", pooling="last", padding_side="left", max_length=64
    )
    options = ExportOptions(scorer=folder, out=tmp_path / "out", precisions=("fp32",))
    package = export(options, ScorerContext())
    assert {check.changed for check in package.checks} == {0}
    assert package.precisions == ("bf16", "fp32")
    assert package.used == ("fp32",)
    outcome = record_selftest(tmp_path / "out", ScorerContext())
    assert outcome is not None
    assert not outcome.passed  # random weights: recorded here, refused when used
    assert read_settings(tmp_path / "out").selftest == outcome.to_dict()
    with pytest.raises(CheckFailed, match="fails its self-test"):
        load_scorer(str(tmp_path / "out"), ScorerContext())


def test_a_precision_that_changes_labels_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantising, "_LARGEST", 1.0)  # three values are too few
    out = tmp_path / "out"
    options = ExportOptions(scorer=trained, out=out, precisions=("int8",))
    with pytest.raises(CheckFailed, match=r"int8 changes \d+ of 64 labels .*--precision"):
        export(options, ScorerContext())
    assert list(tmp_path.iterdir()) == []


def test_calibration_rows_are_not_compared_on(trained: Path, tmp_path: Path) -> None:
    labels = LabelledSet(PAIRS.rows, {"own.jsonl": "0" * 64})
    options = ExportOptions(scorer=trained, out=tmp_path / "out", precisions=("int8",))
    package = export(options, ScorerContext(), labels)
    assert package.calibrated_on == "16 responses of own.jsonl, not compared on"
    assert {check.n for check in package.checks} == {64 + 48}
    assert set(package.checked_on) == {*PAIRS.files, "own.jsonl"}
    assert package.precisions == ("int8",)
    assert not (tmp_path / "out" / "model.onnx").exists()
    with pytest.raises(InputError, match="was not exported as fp32, only as int8"):
        load_scorer(str(tmp_path / "out"), ScorerContext(options={"precision": "fp32"}))


def test_progress_is_told_and_the_comparison_bounded(trained: Path, tmp_path: Path) -> None:
    labels = LabelledSet(PAIRS.rows, {"own.jsonl": "0" * 64})
    options = ExportOptions(
        scorer=trained, out=tmp_path / "out", precisions=("int8",), compare_rows=9
    )
    seen: list[tuple[str, float]] = []
    package = export(options, ScorerContext(), labels, lambda *step: seen.append(step))
    assert {check.n for check in package.checks} == {64 + 9}
    assert [*dict(seen)] == [
        "writing the graph", "calibrating int8", "rounding to int8", "comparing with the original"
    ]  # fmt: skip
    shares = [share for what, share in seen if what.startswith("comparing")]
    assert shares[0] == 0
    assert shares == sorted(set(shares))
    assert 0.5 < shares[-1] < 1


def test_damage_is_reported_before_scoring(copied: Path) -> None:
    model = copied / "model.int8.onnx"
    sound = model.read_bytes()
    context = ScorerContext(options={"precision": "int8"})
    model.write_bytes(sound[:-100] + bytes(100))
    with pytest.raises(InputError, match=r"model\.int8\.onnx: is damaged"):
        load_scorer(str(copied), context)
    model.unlink()
    with pytest.raises(InputError, match=r"has no model\.int8\.onnx"):
        load_scorer(str(copied), context)
    model.write_bytes(sound)
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json: is no tokenizer"):
        load_scorer(str(copied), context)
    config = json.loads((copied / "config.json").read_text("utf-8"))
    config["export"]["files"]["int8"]["name"] = "../model.int8.onnx"
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="is no complete export"):
        load_scorer(str(copied), context)
    config["export"]["files"] = ["model.onnx"]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"field `export\.files`: is broken"):
        load_scorer(str(copied), context)


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(copied: Path) -> None:
    path = copied / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer["model"]["vocab"]["龘"] = 5000
    path.write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(InputError, match=r"the token 5,000, its embedding only 1,024 rows"):
        load_scorer(str(copied), ScorerContext(options={"selftest": "off"}))


def test_another_tokenizer_is_tested_anew(copied: Path) -> None:
    load_scorer(str(copied), ScorerContext())  # passes, and that is remembered
    path = copied / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    words = tokenizer["model"]["vocab"]
    plain = [word for word in words if not word.startswith("[")]
    turned = dict(zip(plain, [words[word] for word in reversed(plain)], strict=True))
    tokenizer["model"]["vocab"] = {**words, **turned}
    path.write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(CheckFailed, match="fails its self-test"):
        load_scorer(str(copied), ScorerContext())


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_model_that_is_none_is_one_clear_line(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    assert backend in available()
    with pytest.raises(InputError, match=f"cannot be run by {'O' if backend[1] == 'p' else 'o'}"):
        open_backend(backend, path, "fp32")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tvm"}, "backend takes openvino or onnxruntime, not 'tvm'"),
        ({"precision": "int4"}, "precision takes int8, bf16 or fp32, not 'int4'"),
        ({"threads": 0}, "threads takes a whole number of at least 1, not 0"),
        (
            {"device": "cpu"},
            "has no option 'device'; it has: backend, batch_tokens, input_truncation, precision",
        ),
        ({"input_truncation": "left"}, "input_truncation takes middle or official"),
    ],
)
def test_options_that_cannot_be_met_are_reported(
    exported: tuple[Path, Package], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_scorer(str(exported[0]), ScorerContext(options=options))


def test_each_kind_is_given_its_own_options_where_both_stand_together(
    exported: tuple[Path, Package], trained: Path
) -> None:
    options = {"precision": "int8", "threads": 1, "device": "cpu", "dtype": "bfloat16"}
    for name, message in (("precision", "has no option 'precision'; it has: batch_tokens, device"),
                       ("threads", "has no option 'threads'")):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            load_scorer(str(trained), ScorerContext(options={name: options[name]}))
    for spec in (f"ensemble:{trained}+{exported[0]}", f"cascade:{exported[0]}>{trained}"):
        made = load_scorer(spec, ScorerContext(options={**options, "selftest": "off"}))
        assert "+int8" in made.info.id
        assert all(verdict.score for verdict in made.score(RESPONSES[:4]))


def test_what_cannot_be_exported_is_reported(
    exported: tuple[Path, Package], trained: Path, tmp_path: Path
) -> None:
    context = ScorerContext()
    with pytest.raises(UsageError, match="is an export; export the scorer"):
        export(ExportOptions(scorer=exported[0], out=tmp_path / "out"), context)
    with pytest.raises(UsageError, match="is not empty"):
        export(ExportOptions(scorer=trained, out=trained), context)
    with pytest.raises(InputError, match="is no scorer"):
        export(ExportOptions(scorer=tmp_path / "none", out=tmp_path / "out"), context)
    with pytest.raises(UsageError, match="--precision takes any of fp32, bf16, int8, not 'int4'"):
        ExportOptions(scorer=trained, out=tmp_path / "out", precisions=("int4",))


def test_another_taxonomy_needs_something_to_compare_on(trained: Path, tmp_path: Path) -> None:
    from flames.taxonomy import Taxonomy

    other = {"name": "other", "dimensions": [
        {"name": "Kindness", "label": {"zh": "善意", "en": "Kindness"}, "scale": [2, 1]}
    ]}  # fmt: skip
    context = ScorerContext(taxonomy=Taxonomy.model_validate(other))
    with pytest.raises(UsageError, match="but the taxonomy other@1 has Kindness 2/1"):
        export(ExportOptions(scorer=trained, out=tmp_path / "out"), context)
    settings = read_settings(trained).model_copy(
        update={"heads": (Head(name="Kindness", scale=(2, 1)),), "taxonomy": "other@1"}
    )
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"flames": settings.model_dump(mode="json")}))
    with pytest.raises(UsageError, match="nothing to compare the export on"):
        export(ExportOptions(scorer=folder, out=tmp_path / "out"), context)


def test_quantising_keeps_a_first_token_scorer_as_well(tmp_path: Path) -> None:
    folder = tiny_trained.scorer(tmp_path / "first", pooling="cls")
    options = ExportOptions(scorer=folder, out=tmp_path / "out", precisions=("int8",))
    package = export(options, ScorerContext())
    assert all(check.agreement >= 95 for check in package.checks)


def test_onnxruntime_computes_every_quantized_product_with_integers(
    exported: tuple[Path, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = onnxruntime.SessionOptions

    def keeping() -> object:
        options = usual()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        return options

    monkeypatch.setattr(onnxruntime, "SessionOptions", keeping)
    file = exported[0] / "model.int8.onnx"
    OnnxRuntime(file, "int8")
    weights = [w for w in onnx.load(file).graph.initializer if w.name.endswith(".w.q")]
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("MatMulIntegerToFloat") == len(weights) > 10


@pytest.mark.parametrize(("flags", "largest"), [("avx2", 63), ("avx2 avx512_vnni", 127)])
def test_weights_fit_the_products_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, largest: int
) -> None:
    found = Processor("x", frozenset(flags.split()), 2)
    monkeypatch.setattr(quantising, "processor", lambda: found)
    folder = tiny_trained.scorer(tmp_path / "first", pooling="cls")
    options = ExportOptions(
        scorer=folder, out=tmp_path / "out", precisions=("int8",), min_agreement=0
    )
    export(options, ScorerContext())
    weights = onnx.load(tmp_path / "out" / "model.int8.onnx").graph.initializer
    whole = [onnx.numpy_helper.to_array(w) for w in weights if w.name.endswith(".w.q")]
    assert {int(np.abs(each.astype(int)).max()) for each in whole} == {largest}


@pytest.mark.parametrize("strongest", [1.0, 30.0, 1000.0])
def test_smoothing_suits_each_input(strongest: float) -> None:
    """Whatever the outliers, the products lose less than with any one compromise for all."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 64)).astype(np.float32)
    inputs[:, 3] *= strongest
    matrix = rng.normal(size=(64, 32)).astype(np.float32)
    seen = quantising._Seen()
    seen.add(inputs)

    def lost(smooth: Any) -> float:
        even, scaled = inputs / smooth, matrix * smooth[:, None]
        step = np.abs(even).max() / 127
        steps = np.abs(scaled).max(axis=0) / 127
        found = (np.round(even / step) * step) @ (np.round(scaled / steps) * steps)
        return float(np.square(found - inputs @ matrix).mean())

    peak, weight = np.abs(inputs).max(axis=0), np.abs(matrix).max(axis=1)
    others = [np.ones(64), (peak / weight) ** 0.5, peak]
    assert lost(seen.smoothing([matrix])) < 1.02 * min(map(lost, others))

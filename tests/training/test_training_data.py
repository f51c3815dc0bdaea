from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_labels
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.errors import UsageError
from flames.records import Response
from flames.scorers.label_rows import Labelled
from flames.scorers.labelled import LabelledSet, read_labelled
from flames.scorers.trained.settings import (
    PAPER_TEMPLATE,
    RELEASED_TEMPLATE,
    Head,
    ScorerSettings,
    heads_of,
)
from flames.taxonomy import default_taxonomy
from flames.training import SplitOptions, TrainOptions, find_leaks, split, without_leaks

TAXONOMY = default_taxonomy()


def labelled(tmp_path: Path, **options: Any) -> LabelledSet:
    rows = tiny_labels.rows(**options)
    return read_labelled([str(tiny_labels.write(tmp_path / "labels.jsonl", rows))])


def row(prompt: str, response: str, model: str = "m", dimension: str = "Safety") -> Labelled:
    made = Response(
        prompt_id=prompt[:9] or "-", model=model, dimension=dimension, prompt=prompt,
        response=response,
    )  # fmt: skip
    return Labelled(made, 3, {"a": 3}, "here")


def test_a_split_by_model_tests_on_models_that_were_not_seen(tmp_path: Path) -> None:
    whole = labelled(tmp_path)
    made = split(whole, SplitOptions(test_models=("red",), val_models=("blue",)), TAXONOMY)
    assert made.training.models == ("green",)
    assert made.validation.models == ("blue",)
    assert made.test.models == ("red",)
    assert made.unused == 0
    parts = made.parts().values()
    assert sum(len(part.rows) for part in parts) == len(whole.rows)
    assert all(part.files == whole.files for part in parts)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_split_by_prompt_keeps_a_prompt_in_one_part(tmp_path: Path, seed: int) -> None:
    whole = labelled(tmp_path, prompts=20)
    options = SplitOptions(by="prompt", test_share=0.2, val_share=0.1, seed=seed)
    made = split(whole, options, TAXONOMY)
    prompts = {n: {r.key.prompt_id for r in part.rows} for n, part in made.parts().items()}
    assert not prompts["training"] & (prompts["test"] | prompts["validation"])
    assert not prompts["test"] & prompts["validation"]
    assert (len(prompts["test"]), len(prompts["validation"])) == (20, 10)
    assert Counter(r.dimension for r in made.test.rows) == dict.fromkeys(TAXONOMY.names, 12)
    shuffled = whole.of(random.Random(seed).sample(whole.rows, len(whole.rows)))
    again = split(shuffled, options, TAXONOMY)
    assert {r.key for r in again.test.rows} == {r.key for r in made.test.rows}


def test_a_split_by_both_leaves_no_model_and_no_prompt_on_both_sides(tmp_path: Path) -> None:
    whole = labelled(tmp_path, prompts=20)
    options = SplitOptions(by="both", test_models=("red",), val_models=("blue",), test_share=0.3)
    made = split(whole, options, TAXONOMY)
    for name in ("model", "prompt_id"):
        sides = [{getattr(r.key, name) for r in part.rows} for part in made.parts().values()]
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]
    used = sum(len(part.rows) for part in made.parts().values())
    assert made.unused == len(whole.rows) - used > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no models are held back; name them with"),
        ({"test_models": ("rad",)}, "no labels of the model 'rad'; did you mean 'red'"),
        ({"test_models": ("zzz",)}, "the models are: red, green, blue"),
        (
            {"test_models": ("red",), "val_models": ("red",)},
            "is both a test and a validation model",
        ),
        ({"test_models": ("red", "green", "blue")}, "nothing is left to train on"),
        ({"by": "prompt", "test_models": ("red",)}, "use --split both to hold back both"),
        ({"by": "prompt", "test_share": 0.7, "val_share": 0.5}, "add up to less than 1"),
        ({"by": "prompt", "test_share": 0, "val_share": 0}, "add up to less than 1"),
    ],
)
def test_a_split_that_cannot_be_is_one_clear_line(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        split(labelled(tmp_path), SplitOptions(**options), TAXONOMY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["red", "green"])
def test_a_part_without_rows_of_a_dimension_is_refused(tmp_path: Path, model: str) -> None:
    rows = [r for r in tiny_labels.rows() if r["dimension"] != "Legality" or r["model"] != model]
    whole = read_labelled([str(tiny_labels.write(tmp_path / "labels.jsonl", rows))])
    options = SplitOptions(test_models=("red",), val_models=("blue",))
    part = "test" if model == "red" else "training"
    with pytest.raises(UsageError, match=f"the {part} part has no rows of Legality"):
        split(whole, options, TAXONOMY)


LONG = (
    "直接拒绝这样的要求，因为它会伤害别人的尊严，也违反了公共秩序，请换一种尊重人的方式表达意见。"
)


def test_the_same_and_nearly_the_same_pair_is_a_leak() -> None:
    kept = [row("问题一：如何是好呢", LONG), row("另一个很不一样的提问", "好的，没有问题。")]
    near = row("问题一： 如何是好呢？", LONG.replace("直接", "坚决"), "n")
    folded = row("問題".replace("問題", "问题") + "一：如何是好呢", LONG.replace("，", " , "), "n")
    other_prompt = row("完全不同的问题，请问可以吗", LONG, "n")
    other_answer = row("问题一：如何是好呢", "当然可以，我来帮你写一段骂人的话。", "n")
    found = find_leaks(kept, [near, folded, other_prompt, other_answer])
    assert [leak.leaking for leak in found] == [near, folded]
    assert all(leak.kept is kept[0] for leak in found)
    assert found[0].similarity < found[1].similarity == 1.0
    assert find_leaks([], [near]) == find_leaks(kept, []) == []


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text("你好我不能帮违法的甲乙丙丁戊己庚辛", min_size=12, max_size=80), min_size=2,
             max_size=12, unique=True),
    st.data(),
)  # fmt: skip
def test_every_copy_is_found_and_every_find_is_similar(texts: list[str], data: Any) -> None:
    kept = [row(f"提问{text[:6]}", text) for text in texts]
    chosen = data.draw(st.sampled_from(texts))
    copies = [row(f"提问{chosen[:6]}", f"{chosen}。", "n")]
    leaks = find_leaks(kept, copies)
    assert len(leaks) == 1
    assert leaks[0].similarity == 1.0
    for leak in find_leaks(kept, [row(f"提问{t[:6]}", t[::-1], "n") for t in texts]):
        assert leak.similarity >= 0.8


def test_leaks_stop_a_training_or_are_dropped_from_it(tmp_path: Path) -> None:
    rows = tiny_labels.rows()
    rows.append({**rows[0], "model": "blue", "response": rows[0]["response"], "sample": 1})
    rows.append({**rows[0], "model": "green", "response": rows[0]["response"], "sample": 1})
    whole = read_labelled([str(tiny_labels.write(tmp_path / "labels.jsonl", rows))])
    made = split(whole, SplitOptions(test_models=("red",), val_models=("blue",)), TAXONOMY)
    with pytest.raises(UsageError, match=r"1 pairs of the training part .* in the test part, .*"
                       r"of 'green' \(labels\.jsonl, label 92\)"):  # fmt: skip
        without_leaks(made)
    clean, dropped = without_leaks(made, drop=True)
    assert dropped == 2
    assert len(clean.training.rows) == len(made.training.rows) - 1
    assert len(clean.validation.rows) == len(made.validation.rows) - 1
    assert clean.test == made.test
    assert without_leaks(clean) == (clean, 0)


def test_training_options_are_checked_in_python_as_on_the_command_line() -> None:
    assert TrainOptions(backbone="b").template == PAPER_TEMPLATE
    assert TrainOptions(backbone="b", template="released").template == RELEASED_TEMPLATE
    assert TrainOptions(backbone="b", template="{response}").template == "{response}"
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"template": "{prompt}"}, "--template takes paper, released, or a text with {response}"),
        ({"pooling": "max"}, "--pooling takes cls, mean or last, not 'max'"),
        ({"dtype": "int8"}, "--dtype takes float32 or bfloat16, not 'int8'"),
        ({"max_length": 8}, "--max-length takes a number of at least 16, not 8"),
        ({"frozen": True, "fsdp": True}, "--fsdp trains the backbone, --frozen does not"),
    )
    for options, message in wrong:
        with pytest.raises(UsageError, match=re.escape(message)):
            TrainOptions(backbone="b", **options)


WITHOUT_EXTRAS = """
import sys
for name in ("torch", "transformers", "accelerate", "sentencepiece", "onnxscript"):
    sys.modules[name] = None
from flames.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("scorer", "train", "--labels", "l.jsonl", "--backbone", "b", "--out", "o"), "train"),
        (("scorer", "import", "released", "--out", "o"), "train"),
        (("score", "l.jsonl", "--scorer", "trained", "--out", "o"), "hf"),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, words: tuple[str, ...], extra: str) -> None:
    tiny_labels.write(tmp_path / "l.jsonl", tiny_labels.rows())
    (tmp_path / "released").mkdir()
    (tmp_path / "trained").mkdir()
    settings = ScorerSettings(taxonomy=TAXONOMY.id, heads=heads_of(TAXONOMY))
    config = {"flames": settings.model_dump(mode="json", by_alias=True)}
    (tmp_path / "trained" / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"needs the extra `{extra}`" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_exporting_without_its_extra_names_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra cpu")
    settings = ScorerSettings(taxonomy=TAXONOMY.id, heads=heads_of(TAXONOMY))
    config = {"flames": settings.model_dump(mode="json", by_alias=True)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = ("scorer", "export", str(tmp_path), "--out", str(tmp_path / "out"))
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "exporting a scorer needs the extra `train`" in done.stderr


def test_loss_is_that_of_the_own_head_only_and_soft_targets_are_shares() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra train")
    from flames.scorers.trained.model import multi_task_loss

    torch.manual_seed(0)
    heads = [torch.randn(4, size, requires_grad=True) for size in (3, 3, 2)]
    dimension = torch.tensor([0, 2, 2, 0])
    targets = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0.2, 0.8]])
    loss = multi_task_loss(heads, dimension, targets)
    wanted = 0.0
    for index, (which, goal) in enumerate(zip(dimension, targets, strict=True)):
        logits = heads[int(which)][index]
        wanted -= (goal[: len(logits)] * logits.log_softmax(-1)).sum()
    torch.testing.assert_close(loss, wanted / 4)
    loss.backward()
    assert heads[1].grad is not None  # there, so that processes can add gradients up, but zero
    assert not heads[1].grad.any()
    assert heads[0].grad[0].any()
    assert not heads[0].grad[1].any()


def test_targets_are_smoothed_weighted_and_as_soft_as_the_annotators(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    from flames.scorers.trained.encoding import Encoder
    from flames.training.rows import Rows
    from flames.training.targets import class_weights, target

    settings = ScorerSettings(taxonomy="t", heads=heads_of(TAXONOMY), max_length=64)
    head = Head(name="Safety", scale=(3, 2, 1))
    torn = Labelled(row("问", "答").response, None, {"a": 3, "b": 1, "c": 1}, "here")
    assert target(torn, head).tolist() == pytest.approx([1 / 3, 0, 2 / 3])
    rows = [row("问", "答")] * 3 + [Labelled(row("问", "答").response, 1, {"a": 1}, "here")]
    weights = class_weights(rows, settings)
    assert weights["Safety"].tolist() == pytest.approx([2 / 3, 1, 2])
    assert weights["Legality"].tolist() == [1, 1]
    encoder = Encoder(tiny_models.wordpiece(), settings)
    made = Rows(rows, encoder, smoothing=0.3, weights=weights)
    assert made[0]["labels"].tolist() == pytest.approx([0.8 * 2 / 3, 0.1, 0.2])
    assert sum(float(item["labels"].sum()) for item in made.items) == pytest.approx(4, abs=0.5)
    assert {item["dimension"] for item in made.items} == {1}
    halved = Rows(rows[:2], encoder, shares=np.array([0.5, 1], np.float32))
    assert [float(item["labels"].sum()) for item in halved.items] == [0.5, 1]


def test_the_order_of_training_rows_depends_on_seed_and_epoch_alone() -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    from flames.training.rows import GroupedSampler

    lengths = np.random.default_rng(0).integers(1, 100, 203).tolist()
    sampler = GroupedSampler(lengths, 8, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(203))
    assert list(GroupedSampler(lengths, 8, seed=3)) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    spread = [np.ptp([lengths[i] for i in first[at : at + 8]]) for at in range(0, 192, 8)]
    assert np.mean(spread) < 15

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from command import run

from flames.errors import CheckFailed, InputError, OutsideError, UsageError
from flames.records import Response
from flames.scorers.base import ScorerContext, score_stream
from flames.scorers.registry import load_scorer
from flames.scorers.trained.backends import OutOfMemoryError
from flames.scorers.trained.settings import ScorerSettings, read_settings
from flames.taxonomy import default_taxonomy

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")

import torch

from flames.scorers.trained.model import FlamesScorer

TAXONOMY = default_taxonomy()
PAIRS = [
    ("你好", "我不能帮你"),
    ("这样做是违法的" * 9, "请寻求合法的途径，谢谢！" * 4),
    ("The quick brown fox", "测试 12345 " * 40),
    ("你好", "x"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.scorer(tmp_path_factory.mktemp("scorers") / "tiny")


def opened(folder: Path, **options: Any) -> Any:
    """A scorer of random weights, which would fail its self-test."""
    return load_scorer(str(folder), ScorerContext(options={"selftest": "off", **options}))


def responses() -> list[Response]:
    return [
        Response(prompt_id=str(n), model="m", dimension=name, prompt=prompt, response=answer)
        for n, (prompt, answer) in enumerate(PAIRS)
        for name in [TAXONOMY.names[n % 5]]
    ]


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        (kind, pooling)
        for kind in tiny_models.CONFIGS
        for pooling in ("cls", "mean", "last")
        if pooling != "cls" or "bert" in kind
    ],
)
def test_a_row_never_depends_on_its_batch_or_padding(
    kind: str, pooling: str, tmp_path: Path
) -> None:
    made = tiny_models.scorer(tmp_path / "scorer", kind, pooling=pooling)
    model = FlamesScorer.from_pretrained(made)
    rows = model.encoder.encode(PAIRS)
    assert len({len(row.ids) for row in rows}) > 2
    alone = np.concatenate([model.compute([row]) for row in rows])
    assert np.ptp(alone[:, 0]) > 0.01
    for side in ("right", "left"):
        model.settings = model.settings.model_copy(update={"padding_side": side})
        together = model.engine(10**6).compute(rows)
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_pooling_reads_the_named_state_whatever_the_padding() -> None:
    from flames.scorers.trained.model import pool

    states = torch.arange(24.0).reshape(2, 4, 3)
    for mask in ([[1, 1, 1, 0], [1, 1, 1, 1]], [[0, 1, 1, 1], [1, 1, 1, 1]]):
        seen = torch.tensor(mask)
        first, last = mask[0].index(1), 3 - mask[0][::-1].index(1)
        assert pool(states, seen, "cls")[0].tolist() == states[0, first].tolist()
        assert pool(states, seen, "last")[0].tolist() == states[0, last].tolist()
        mean = states[0, first : last + 1].mean(0)
        assert pool(states, seen, "mean")[0].tolist() == pytest.approx(mean.tolist())


def test_saved_and_loaded_it_scores_the_same_and_travels_whole(
    folder: Path, tmp_path: Path
) -> None:
    model = FlamesScorer.from_pretrained(folder)
    records = [response.to_dict() for response in responses()]
    chances = model.predict_proba(records)
    assert [tuple(each) for each in chances] == [(3, 2, 1), (3, 2, 1), (3, 2, 1), (3, 1)]
    assert all(sum(each.values()) == pytest.approx(1) for each in chances)
    model.save_pretrained(tmp_path / "again")
    again = FlamesScorer.from_pretrained(tmp_path / "again")
    assert again.predict_proba(records) == chances
    assert again.predict(records) == [max(each, key=each.__getitem__) for each in chances]
    assert read_settings(tmp_path / "again") == read_settings(folder)
    held = sorted(each.name for each in (tmp_path / "again").iterdir())
    assert held == ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize(
    ("options", "suffix"),
    [
        ({}, ""),
        ({"dtype": "float32"}, ""),
        ({"dtype": "bfloat16"}, "+bf16"),
        ({"dtype": "float16", "input_truncation": "official"}, "+fp16+official"),
    ],
)
def test_what_is_not_computed_in_fp32_has_an_id_of_its_own(
    folder: Path, options: dict[str, str], suffix: str
) -> None:
    scorer = opened(folder, **options)
    assert scorer.info.id == f"{read_settings(folder).id}{suffix}"
    assert {verdict.scorer for verdict in score_stream(scorer, responses())} == {scorer.info.id}


def test_what_cannot_be_scored_is_said_not_guessed(folder: Path) -> None:
    scorer = opened(folder)
    given = [
        *responses(),
        Response(prompt_id="a", model="m", dimension="Safety", response="没有提问"),
        Response(prompt_id="b", model="m", dimension="Chess", prompt="?", response="e4"),
        Response(prompt_id="c", model="m", dimension="Safety", prompt="?", status="empty"),
    ]
    verdicts = list(score_stream(scorer, given))
    assert [verdict.key for verdict in verdicts] == [response.key for response in given]
    assert [verdict.unscored for verdict in verdicts[4:]] == [
        "no prompt text", "no head for its dimension", "empty",
    ]  # fmt: skip
    flagged = [v.to_dict().get("response_truncated", False) for v in verdicts[:4]]
    assert flagged == [False, False, True, False]
    for verdict in verdicts[:4]:
        assert verdict.probabilities is not None
        assert verdict.score == int(max(verdict.probabilities, key=verdict.probabilities.get))
        assert verdict.scorer == scorer.info.id
    with pytest.raises(InputError, match="record 0 cannot be scored: no head"):
        FlamesScorer.from_pretrained(folder).predict([{"dimension": "Chess", "response": "e4"}])


def test_logits_that_are_no_numbers_give_no_score(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "nan"
    shutil.copytree(folder, broken)
    weights = load_file(broken / "model.safetensors")
    weights["classifiers.1.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    verdicts = opened(broken).score(responses())
    assert [v.unscored for v in verdicts] == [None, "no finite logits", None, None]


def change_weights(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        for name, shape in changes.items():
            if shape is None:
                del weights[name.replace("__", ".")]
            else:
                weights[name.replace("__", ".")] = torch.zeros(shape)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return change


def change_config(**fields: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["flames"].update(fields.pop("flames", {}))
        path.write_text(json.dumps({**config, **fields}))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_weights(classifiers__2__weight=(2, 32)),
         r"wrong shape: classifiers\.2\.weight \(2, 32\) instead of \(3, 32\)"),
        (change_weights(classifiers__4__bias=None), r"weights are missing: classifiers\.4\.bias"),
        (change_weights(classifiers__5__bias=(2,)), r"unknown weights: classifiers\.5\.bias"),
        (lambda f: (f / "model.safetensors").write_bytes(b"broken"), "is a broken scorer"),
        (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
        (lambda f: (f / "tokenizer.json").unlink(), r"has no tokenizer\.json"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "is no tokenizer"),
        (change_config(text_config={"model_type": "no-such"}), "is a broken scorer"),
        (change_config(flames={"pooling": "max"}), "`flames.pooling`: is broken"),
        (change_config(flames={"heads": [{"name": "Fairness", "scale": [3, 2, 1]}]}),
         "has heads for Fairness 3/2/1"),
        (lambda f: (f / "config.json").write_text("{}"), "is no scorer of Flames"),
    ],
)  # fmt: skip
def test_a_broken_folder_is_one_clear_line(
    folder: Path, tmp_path: Path, change: Any, message: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    change(broken)
    with pytest.raises((InputError, UsageError), match=message) as caught:
        opened(broken)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="there is no cuda here"):
            opened(folder, device="cuda")
    with pytest.raises(UsageError, match="unknown device 'gpu7'"):
        opened(folder, device="gpu7")
    with pytest.raises(UsageError, match="input_truncation takes middle or official, not 'none'"):
        opened(folder, input_truncation="none")


def test_a_kill_loses_a_thousand_responses_at_most(folder: Path) -> None:
    assert opened(folder).window == 1024


def test_memory_that_runs_out_on_a_gpu_only_makes_batches_smaller(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FlamesScorer.from_pretrained(folder)
    rows = model.encoder.encode(PAIRS * 4)
    wanted = model.compute(rows)
    sizes = []

    def forward(input_ids: Any, attention_mask: Any, real: Any = model.forward) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > most:
            raise torch.OutOfMemoryError
        return real(input_ids, attention_mask)

    most = 3
    monkeypatch.setattr(model, "forward", forward)
    np.testing.assert_allclose(model.compute(rows), wanted, atol=1e-5)
    assert max(sizes) == 16
    most = 0
    with pytest.raises(OutOfMemoryError, match="not enough memory on cpu for 1 × "):
        model.compute(rows[:1])


def test_a_backbone_shorter_than_the_window_is_refused(tmp_path: Path) -> None:
    backbone = tiny_models.backbone(tmp_path / "short", max_position_embeddings=100)
    settings = ScorerSettings(taxonomy="t", heads=({"name": "A", "scale": (2, 1)},))
    with pytest.raises(UsageError, match="reads at most 100 tokens, not 512"):
        FlamesScorer.from_backbone(str(backbone), settings)


def test_the_first_token_of_a_decoder_is_refused(tmp_path: Path) -> None:
    backbone = tiny_models.backbone(tmp_path / "llama", "llama")
    settings = ScorerSettings(taxonomy="t", heads=({"name": "A", "scale": (2, 1)},))
    with pytest.raises(UsageError, match="sees nothing of the text"):
        FlamesScorer.from_backbone(str(backbone), settings)


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "a/b/c"])
def test_a_backbone_that_is_not_there_is_reported(name: str) -> None:
    settings = ScorerSettings(taxonomy="t", heads=({"name": "A", "scale": (2, 1)},))
    with pytest.raises(InputError, match="is no model"):
        FlamesScorer.from_backbone(name, settings)


def test_a_backbone_that_the_hub_does_not_give_is_a_failure_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flames.scorers.trained.backbone import model_type_of

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OutsideError, match=r"^nobody/nothing cannot be downloaded .*its folder$"):
        model_type_of("nobody/nothing")


def changed(folder: Path, name: str, tensor: torch.Tensor | None) -> None:
    """Replaces, adds or takes away a tensor of a saved model."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop(name, None)
    if tensor is not None:
        weights[name] = tensor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


DENSE = "encoder.layer.1.output.dense.bias"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (DENSE, None, f"is a broken backbone, weights are missing: {DENSE}"),
        (DENSE, torch.zeros(3), rf"weights of the wrong shape: {DENSE} \(3,\) instead of \(32,\)"),
        (DENSE, torch.full((32,), float("nan")), f"weights that are not finite: {DENSE}"),
        ("encoder.layer.2.output.dense.bias", torch.zeros(32), "unknown weights: encoder.layer.2"),
        ("embeddings.word_embeddings.weight", torch.zeros(9, 32), "weights of the wrong shape"),
    ],
)
def test_a_backbone_whose_weights_are_not_its_configurations_is_refused(
    tmp_path: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    settings = ScorerSettings(taxonomy="t", heads=({"name": "A", "scale": (2, 1)},), max_length=99)
    backbone = tiny_models.backbone(tmp_path / "bert")
    changed(backbone, name, tensor)
    with pytest.raises(InputError, match=message) as caught:
        FlamesScorer.from_backbone(str(backbone), settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pooler.dense.bias", "cls.predictions.bias"])
def test_weights_that_no_scorer_reads_may_be_missing_or_too_many(tmp_path: Path, name: str) -> None:
    settings = ScorerSettings(taxonomy="t", heads=({"name": "A", "scale": (2, 1)},), max_length=99)
    backbone = tiny_models.backbone(tmp_path / "bert")
    changed(backbone, name, None if "pooler" in name else torch.zeros(3))
    FlamesScorer.from_backbone(str(backbone), settings)


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(tmp_path: Path) -> None:
    settings = ScorerSettings(taxonomy="t", heads=({"name": "A", "scale": (2, 1)},), max_length=99)
    backbone = tiny_models.backbone(tmp_path / "bert", vocab_size=20)
    with pytest.raises(InputError, match=r"the token 159, its embedding only 20 rows"):
        FlamesScorer.from_backbone(str(backbone), settings)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "is no backbone: it has no config.json"),
        ("{", "is no JSON"),
        ("[]", "names no architecture"),
        ('{"model_type": "frob"}', "does not know the architecture 'frob'"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, config: str | None, message: str
) -> None:
    from flames.scorers.trained.backbone import model_type_of

    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=message):
        model_type_of(str(tmp_path))


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return exit, (7,)

    settings = ScorerSettings(taxonomy="t", heads=({"name": "A", "scale": (2, 1)},), max_length=99)
    backbone = tiny_models.backbone(tmp_path / "bert")
    (backbone / "model.safetensors").unlink()
    torch.save({"x": Evil()}, backbone / "pytorch_model.bin")
    with pytest.raises(InputError, match="loading them would run their code"):
        FlamesScorer.from_backbone(str(backbone), settings)


def test_a_broken_backbone_is_one_clear_line(tmp_path: Path) -> None:
    settings = ScorerSettings(taxonomy="t", heads=({"name": "A", "scale": (2, 1)},), max_length=99)
    (tmp_path / "empty").mkdir()
    broken = tiny_models.backbone(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    for folder in ("empty", "broken"):
        with pytest.raises(InputError, match=r"is no (usable )?backbone") as caught:
            FlamesScorer.from_backbone(str(tmp_path / folder), settings)
        assert "\n" not in str(caught.value)


def test_a_scorer_that_fails_its_self_test_can_be_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_models.scorer(tmp_path / "random")
    with pytest.raises(CheckFailed):
        load_scorer(str(folder))
    assert run("scorer", "info", folder) == 0
    printed = capsys.readouterr().out
    assert "note: self-test failed: " in printed
    assert "max_length: 128" in printed

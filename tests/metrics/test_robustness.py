"""Pairs of an original and a variant that flip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from flames.metrics.result import Flips, Robustness
from flames.metrics.robustness import measure_robustness, variant_pairs
from flames.metrics.source import Source, Variant
from flames.records import PromptSetInfo, Verdict
from flames.taxonomy import default_taxonomy

TAXONOMY = default_taxonomy()
KINDS = ("pinyin", "split", "role_play")


def source(scores: dict[str, int | str | None], samples: int = 1) -> Source:
    """Verdicts by `o1` or `o1/pinyin`, `#1` for a second sample; a text says why there is none."""
    verdicts, variants = [], {}
    for name, score in scores.items():
        prompt, _, sample = name.partition("#")
        original, _, kind = prompt.partition("/")
        if kind:
            variants[prompt] = Variant(original, kind)
        given_score = score if isinstance(score, int) else None
        verdicts.append(
            Verdict(
                prompt_id=prompt,
                model="m",
                sample=int(sample or 0),
                dimension="Safety",
                scorer="s@1",
                score=given_score,
                unscored=None if given_score else str(score),
            )
        )
    info = PromptSetInfo(name="s", sha256="0" * 64, n=len(verdicts))
    return Source(
        model="m", scorer="s@1", prompt_set=info, verdicts=verdicts, notes=(), origin=Path("s"),
        samples=samples, variants=variants,
    )  # fmt: skip


def measured(scores: dict[str, int | str | None], **more: Any) -> Robustness:
    found = measure_robustness(source(scores, **more), TAXONOMY, seed=0, resamples=500)
    assert found is not None
    return found


def test_without_variants_nothing_is_measured() -> None:
    assert measure_robustness(source({"o1": 3}), TAXONOMY, seed=0, resamples=100) is None


def test_flips_of_each_kind_and_what_is_in_no_pair() -> None:
    found = measured({
        "o1": 3, "o1/pinyin": 1, "o1/split": 3,
        "o2": 1, "o2/pinyin": 3, "o2/split": "blocked",
        "o3": 2, "o3/pinyin": 1, "o3/split": 2,
        "o4": "error", "o4/pinyin": 3,
        "gone/pinyin": 3,
    })  # fmt: skip
    pinyin, split = found.kinds["pinyin"], found.kinds["split"]
    assert (pinyin.n, pinyin.scored, pinyin.originals) == (5, 3, 5)
    assert pinyin.unscored == {"no original": 1, "original: error": 1}
    assert (split.n, split.scored, split.unscored) == (3, 2, {"variant: blocked": 1})
    assert pinyin.lost is not None
    assert pinyin.gained is not None
    assert (round(pinyin.lost.value, 6), round(pinyin.gained.value, 6)) == (33.333333, 33.333333)
    assert (pinyin.before, pinyin.after) == (pytest.approx(100 / 3), pytest.approx(100 / 3))
    assert pinyin.test == "McNemar, exact"
    assert found.overall.n == pinyin.n + split.n
    assert found.overall.test == "sign-flip permutation by prompt"


PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None, max_examples=40)
@given(PAIRS)
def test_one_pair_a_prompt_is_a_share_and_a_test_of_mcnemar(pairs: list[tuple[bool, bool]]) -> None:
    scores: dict[str, int | str | None] = {}
    for n, (before, after) in enumerate(pairs):
        scores |= {f"o{n}": 3 if before else 1, f"o{n}/pinyin": 3 if after else 2}
    found = measured(scores)
    own = found.kinds["pinyin"]
    lost, gained = pairs.count((True, False)), pairs.count((False, True))
    for estimate, count in ((own.lost, lost), (own.gained, gained)):
        assert estimate is not None
        wilson = binomtest(count, len(pairs)).proportion_ci(method="wilson")
        assert (estimate.low, estimate.high) == pytest.approx((100 * wilson.low, 100 * wilson.high))
    assert own.difference is not None
    assert own.difference.value == pytest.approx(100 * (gained - lost) / len(pairs))
    assert own.difference.low <= own.difference.value <= own.difference.high
    exact = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert own.p == pytest.approx(exact)
    assert own.p_holm == pytest.approx(exact)


def width(flips: Flips) -> float:
    assert flips.lost is not None
    return flips.lost.high - flips.lost.low


def test_many_variants_of_few_prompts_are_worth_less() -> None:
    clustered: dict[str, int | str | None] = {}
    for n in range(10):
        clustered[f"o{n}"] = 3
        clustered |= {f"o{n}/{kind}": 1 if n < 3 else 3 for kind in KINDS}
    alone: dict[str, int | str | None] = {}
    for n in range(30):
        alone |= {f"o{n}": 3, f"o{n}/pinyin": 1 if n < 9 else 3}
    wide, narrow = measured(clustered).overall, measured(alone).overall
    assert wide.scored == narrow.scored == 30
    assert wide.lost is not None
    assert narrow.lost is not None
    assert wide.lost.value == narrow.lost.value
    assert width(wide) > 1.5 * width(narrow)
    assert "by prompt" in wide.lost.method


def test_samples_are_paired_by_number() -> None:
    scores: dict[str, int | str | None] = {
        "o1": 3, "o1#1": 1, "o1/pinyin": 1, "o1/pinyin#1": 1, "o1/split#1": 3,
    }  # fmt: skip
    pairs = {(p.kind, p.sample): (p.before, p.after) for p in variant_pairs(
        source(scores, samples=2), TAXONOMY)}  # fmt: skip
    assert pairs == {
        ("pinyin", 0): (True, False),
        ("pinyin", 1): (False, False),
        ("split", 1): (False, True),
    }


@settings(deadline=None, max_examples=20)
@given(st.dictionaries(
    st.sampled_from([f"o{n}{kind}" for n in range(4) for kind in ("", *("/" + k for k in KINDS))]),
    st.sampled_from([3, 2, 1, "blocked"]), min_size=1,
))  # fmt: skip
def test_every_variant_is_counted_once(scores: dict[str, int | str | None]) -> None:
    variants = [name for name in scores if "/" in name]
    found = measure_robustness(source(scores), TAXONOMY, seed=0, resamples=100)
    if not variants:
        assert found is None
        return
    assert found is not None
    assert found.overall.n == len(variants)
    for flips in (found.overall, *found.kinds.values()):
        assert flips.n == flips.scored + sum(flips.unscored.values())
    assert sum(own.n for own in found.kinds.values()) == found.overall.n

"""What the tests of reports share: real sources, hostile ones, and files to compare with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flames.analysis.loading import load_sources
from flames.metrics.correction import Correction
from flames.metrics.rates import measure
from flames.metrics.result import Result
from flames.metrics.source import Source
from flames.storage.atomic import to_jsonl
from flames.storage.record_files import ReadOptions
from flames.taxonomy import Taxonomy, default_taxonomy

SNAPSHOTS = Path(__file__).parent / "snapshots"

HOSTILE = [
    "<script>window.owned=1</script>",
    "</script><script>window.owned=2</script>",
    "<img src=x onerror='window.owned=3'>",
    "<svg onload=window.owned=4><animate onbegin=window.owned=5 attributeName=x dur=1s>",
    "<a href='javascript:window.owned=6'>tap</a> <iframe srcdoc='<script>1</script>'></iframe>",
    "<!-- --!> <style>*{display:none}</style> <base href='https://evil.example/'>",
    "\u2028\u2029 line separators, \x1b[31mANSI\x1b[0m and \x9b2J, \x00 NUL, \x07 bell",
    "\u202eright to left\u202c \u2066isolated\u2069 zero\u200bwidth \ud83d lone \udc00 surrogates",
    "{{ 7 * 7 }} {% raw %} ${window.owned=7} &lt;b&gt; &#60;i&#62;",
    '=HYPERLINK("https://evil.example") | cell | `code` [link](javascript:alert(1)) **bold**',
    "[bold red]markup[/bold red] [link=https://evil.example]x[/link]",
]


@pytest.fixture(scope="session")
def silver() -> list[Source]:
    """Seven simulated responders with synthetic labels."""
    return load_sources("labels:silver")


@pytest.fixture(scope="session")
def formal(silver: list[Source]) -> Source:
    """One of them."""
    return next(source for source in silver if source.model == "sim-formal")


def verdict_lines(source: Source) -> list[dict[str, Any]]:
    """A source as the lines of a file of verdicts."""
    return [{**source.responses[v.key].to_dict(), **v.to_dict()} for v in source.verdicts]


@pytest.fixture
def formal_file(formal: Source, tmp_path: Path) -> Path:
    """The responder's verdicts as a file, `formal.jsonl`."""
    path = tmp_path / "formal.jsonl"
    path.write_text(to_jsonl(verdict_lines(formal)), encoding="utf-8")
    return path


def sources_of(
    lines: list[dict[str, Any]], folder: Path, taxonomy: Taxonomy | None = None
) -> list[Source]:
    """Sources from lines of a file."""
    path = folder / "verdicts.jsonl"
    path.write_text(to_jsonl(lines), encoding="utf-8")
    return load_sources(path, options=ReadOptions(taxonomy=taxonomy or default_taxonomy()))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Source]]:
    """Sources from lines of a file, and maybe of another taxonomy."""
    return lambda lines, taxonomy=None: sources_of(lines, tmp_path, taxonomy)


@pytest.fixture(scope="session")
def unscored(formal: Source, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The responder with blocked, empty, truncated and unjudgeable responses."""
    lines = verdict_lines(formal)
    for number, line in enumerate(lines):
        if number % 20 == 3:
            line |= {"status": "blocked", "response": None, "score": None}
        elif number % 20 == 8:
            line |= {"score": None, "unscored": "judges disagree", "status": "ok"}
        elif number % 20 == 13:
            line |= {"status": "truncated", "finish_reason": "length"}
        elif number % 20 == 18:
            line |= {"reasoning": "先想一想：这个问题的前提并不成立。", "rationale": "指出了前提"}
    return sources_of(lines, tmp_path_factory.mktemp("unscored"))[0]


@pytest.fixture(scope="session")
def unsure(formal: Source, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The responder by a scorer that is unsure where it does not say harmless."""
    lines = verdict_lines(formal)
    for number, line in enumerate(lines):
        chance = 0.95 if line["score"] == 3 else 0.125 + number % 4 / 8
        line |= {"probabilities": {"3": chance, "1": 1 - chance}, "scorer": "mine@1"}
    return sources_of(lines, tmp_path_factory.mktemp("unsure"))[0]


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Responses, prompts, names and reasons that try to break out of wherever they are shown."""
    lines = [
        {
            "dimension": ("Fairness", "Safety", "Morality", "Legality", "Data protection")[i % 5],
            "prompt": f"{i} {text}",
            "response": text,
            "reasoning": text,
            "rationale": text,
            "technique": text.strip(),
            "model": f"evil {HOSTILE[0]} \x1b[31m \u202e | {HOSTILE[9]}",
            "scorer": f"judge:{HOSTILE[2]}",
            "score": (3, 1)[i % 2],
        }
        for i, text in enumerate(HOSTILE)
    ]
    lines[2] |= {"score": None, "unscored": HOSTILE[3]}
    return sources_of(lines, tmp_path_factory.mktemp("hostile"))[0]


def other_taxonomy(dimensions: int) -> Taxonomy:
    """A taxonomy that is not Flames', with a scale of five levels and labels that need care."""
    return Taxonomy.model_validate(
        {
            "schema": 1,
            "name": "other",
            "dimensions": [
                {
                    "name": f"Value {n}",
                    "label": {"zh": f"价值 <{n}> {{x}}", "en": f"Value <{n}> {{x}}"},
                    "scale": [5, 4, 3, 2, 1] if n == 1 else [1 + 1, 1],
                    "subcomponents": [{"name": "Part", "label": {"zh": "部分", "en": "Part"}}],
                }
                for n in range(1, dimensions + 1)
            ],
        }
    )


@pytest.fixture
def other(read: Callable[..., list[Source]]) -> Callable[[int], tuple[Source, Taxonomy]]:
    """A source of another taxonomy with so many dimensions."""

    def make(dimensions: int) -> tuple[Source, Taxonomy]:
        taxonomy = other_taxonomy(dimensions)
        lines = [
            {
                "dimension": dimension.name,
                "subcomponent": "Part",
                "prompt": f"{dimension.name} {i}",
                "response": f"answer {i}",
                "score": dimension.scale[i % len(dimension.scale)],
            }
            for dimension in taxonomy.dimensions
            for i in range(12)
        ]
        return read(lines, taxonomy)[0], taxonomy

    return make


@pytest.fixture
def same_as_before() -> Callable[[str, str], None]:
    """Compares a text with the file of that name; FLAMES_SNAPSHOTS=1 writes it anew."""

    def compare(name: str, text: str) -> None:
        path = SNAPSHOTS / name
        if os.environ.get("FLAMES_SNAPSHOTS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def stored() -> Callable[[str, Callable[[], Any]], Any]:
    """A result or correction from the file of that name; FLAMES_SNAPSHOTS=1 measures it anew.

    So what is compared with files is how a result is shown, whatever the measuring does.
    """

    def load(name: str, make: Callable[[], Any]) -> Any:
        path = SNAPSHOTS / "results" / f"{name}.json"
        if os.environ.get("FLAMES_SNAPSHOTS"):
            path.parent.mkdir(parents=True, exist_ok=True)
            made = make()
            path.write_text(made.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
        kind = Correction if name.startswith("correction") else Result
        return kind.model_validate_json(path.read_text(encoding="utf-8"))

    return load


@pytest.fixture(scope="session")
def measured() -> Callable[..., Any]:
    """`measure` with few resamples, which is as good here."""

    def run(source: Source, taxonomy: Taxonomy | None = None) -> Any:
        return measure(source, taxonomy, resamples=200)

    return run

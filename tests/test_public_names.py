"""What `import flames` offers, pinned: a name that goes away breaks somebody's code."""

from __future__ import annotations

from pathlib import Path

import pytest

import flames

NAMES = """
    AskSettings BatchOptions CallableModel CertificateReport CertifyOptions ChatModel
    CompareOptions ComparisonReport FlamesError GateOptions GateOutcome InputError
    MeasureOptions ModelOptions OutsideError Prompt PromptSet Report ReportOptions Response
    RunDir RunOutcome Sampling ScoreOptions Scorer ScorerContext ScorerInfo Source StudyOutcome
    Taxonomy TrendOptions TrendReport UsageError Verdict __version__ arun ask certify compare
    gate load_model load_prompts load_scorer load_sources load_taxonomy measure open_run report run
    score score_file score_run study to_frame to_frames trend write_reports
""".split()


def test_the_public_names_are_these() -> None:
    assert sorted(flames.__all__) == sorted(NAMES)
    assert dir(flames) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(flames, name)
    assert name == "__version__" or (value.__doc__ or "").strip()


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        flames.nothing  # noqa: B018


def test_no_public_name_hides_a_room() -> None:
    rooms = {path.name for path in Path(flames.__file__).parent.iterdir() if path.is_dir()}
    assert not rooms & set(NAMES)

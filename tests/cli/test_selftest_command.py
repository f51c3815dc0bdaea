from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from flames.scorers.selftest import load_pairs

Flames = Callable[..., tuple[int, str, str]]


def labelled(path: Path, flat: bool) -> Path:
    """The bundled pairs as labels, all of them 3 where `flat`."""
    rows = [
        {**row.response.to_dict(), "score": 3 if flat else row.score} for row in load_pairs().rows
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_working_scorer_passes(flames: Flames, tmp_path: Path) -> None:
    code, out, _ = flames("scorer", "selftest", "lexical")
    assert code == 0
    assert "passed" in out
    path = labelled(tmp_path / "right.jsonl", flat=False)
    code, out, _ = flames("scorer", "selftest", f"labels:{path}", "--json")
    told = json.loads(out)
    assert (code, told["right"], told["passed"]) == (0, 64, True)


def test_scorer_that_says_three_to_everything_fails(flames: Flames, tmp_path: Path) -> None:
    path = labelled(tmp_path / "flat.jsonl", flat=True)
    code, out, _ = flames("scorer", "selftest", f"labels:{path}")
    assert code == 1
    assert "FAILED" in out
    assert "likely cause: one score for everything" in out
    code, out, _ = flames("scorer", "selftest", f"labels:{path}", "--json")
    assert code == 1
    assert json.loads(out)["scores"] == {"3": 64}


def test_other_taxonomy_needs_its_own_pairs(flames: Flames, tmp_path: Path) -> None:
    dimension = {"name": "Kindness", "label": {"zh": "善意", "en": "Kindness"}, "scale": [2, 1]}
    path = tmp_path / "taxonomy.json"
    path.write_text(json.dumps({"schema": 1, "name": "other", "dimensions": [dimension]}))
    code, _, err = flames("scorer", "selftest", "lexical", "--taxonomy", path)
    assert code == 2
    assert "--selftest FILE" in err

"""Measures the bundled scorers: writes their cards and the table of docs/scorer-eval.md.

    python scripts/measure_scorers.py --from FOLDER --left-out lexical=FILE \
        --left-out gemma-heads=FILE

FOLDER has the external sets (`flames scorer eval --from`); without it they are fetched.
`--left-out SCORER=FILE` are the verdicts of a scorer that was trained on `labels:natural`, each
made without the model of its response in training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flames.analysis.cards import write_cards
from flames.analysis.evaluate_scorers import EvaluateOptions, evaluate_with
from flames.analysis.evaluation import Evaluation
from flames.reports.tables import Cell, Number, Table, markdown_table
from flames.reports.words import say
from flames.scorers.card import ScorerCard, bundled_card_path, read_card
from flames.scorers.external import EXTERNAL
from flames.scorers.labelled import LabelOptions
from flames.scorers.labels import NATURAL

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCORERS = ("lexical", "gemma-heads")


def measured(name: str, source: str | None, left_out: Path | None) -> list[Evaluation]:
    options = EvaluateOptions(
        scorers=(name,),
        labels=(NATURAL.spec,),
        on=tuple(EXTERNAL),
        source=source,
        left_out=left_out,
    )
    return evaluate_with(options, LabelOptions())


def keep(name: str, evaluations: list[Evaluation]) -> ScorerCard:
    """Writes the card of what the scorer was not trained on."""
    unseen = [
        each
        for each in evaluations
        if each.overall.harmless and all(note.code != "learnt" for note in each.notes)
    ]
    path = bundled_card_path(evaluations[0].scorer)
    path.unlink(missing_ok=True)  # nothing of another version, or of labels that were learnt since
    write_cards(unseen, [name], path)
    card = read_card(path)
    assert card is not None
    return card


def table(found: dict[str, list[Evaluation]]) -> Table:
    keys = ("accuracy", "majority", "subcomponent_majority", "bias", "caught", "auc")
    rows: list[list[Cell]] = []
    for place, each in enumerate(next(iter(found.values()))):
        for own in found.values():
            one, learnt = own[place], any(note.code == "learnt" for note in own[place].notes)
            overall, harmless = one.overall, one.overall.harmless
            name = each.label_set or NATURAL.spec
            head = [name, one.scorer, f"{overall.scored:,} / {overall.n:,}"]
            if harmless is None:
                rows.append([*head, *["–"] * 6])
                continue
            head[1] += " *" if learnt else ""
            cells = [Number(getattr(harmless, key), sign=key == "bias") for key in keys]
            rows.append([*head, *cells])
    titles = [say("scorers.card.labels"), say("eval.scorer"), say("eval.scored")]
    titles += [say(f"eval.harmless.{key}") for key in keys]
    return Table.of_cells("", titles, rows, text=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="source")
    parser.add_argument("--left-out", action="append", default=[], metavar="SCORER=FILE")
    options = parser.parse_args()
    left_out = dict(pair.split("=", 1) for pair in options.left_out)
    found = {}
    for name in SCORERS:
        file = left_out.get(name)
        found[name] = measured(name, options.source, Path(file) if file else None)
        keep(name, found[name])
    written = table(found)
    for page, lang in ((DOCS / "scorer-eval.md", "en"), (DOCS / "zh" / "scorer-eval.md", "zh")):
        head, _, rest = page.read_text("utf-8").partition("<!-- measured -->")
        tail = rest.partition("<!-- /measured -->")[2]
        body = markdown_table(written, "zh" if lang == "zh" else "en").strip()
        marked = f"<!-- measured -->\n\n{body}\n\n<!-- /measured -->"
        page.write_text(f"{head}{marked}{tail}", "utf-8")


if __name__ == "__main__":
    main()

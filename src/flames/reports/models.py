"""What the commands about models print: which there are, and how one answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flames.models.prices import Price
from flames.reports.tables import Block, Cell, Table, line
from flames.reports.words import join, name_of, say
from flames.scorers.ping import Ping
from flames.text import shorten


def models_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Builds the table of the names that a model may have."""
    names = ("name", "kind", "leads", "key")
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        variables = " / ".join(row["key_env"])
        key = join(variables, " (", say(f"models.key.{row['key']}"), ")") if variables else ""
        kind = say("models.kind.profile", file=row["file"]) if row["file"] else row["title"]
        cells.append((row["name"], kind, row["address"] or row["model"] or "", key))
    return Table.of_cells("", [say(f"models.{name}") for name in names], cells, text=4)


def ping_lines(found: Ping) -> Iterator[Block]:
    """Yields how a model answered, and what it supports."""
    place = found.described.get("base_url") or found.described.get("provider") or ""
    yield line(say("models.ping.answered", model=found.model, place=place, s=found.latency_s))
    text = shorten(found.text or "", 60)
    status = name_of("models.status", found.status)
    yield line(join(say("models.ping.answer"), text, " (", status, ")"))
    tokens = (found.tokens_in, found.tokens_out)
    counted = "uncounted" if None in tokens else "tokens"
    yield line(say(f"models.ping.{counted}", n_in=tokens[0] or 0, n_out=tokens[1] or 0))
    if found.reasoning:
        yield line(say("models.ping.reasoning"))
    for name, how in found.changed.items():
        yield line(say("models.ping.changed", name=name, how=how))
    for form, how in found.supports.items():
        why = f": {shorten(found.refused[form], 120)}" if form in found.refused else ""
        yield line(join(say(f"models.form.{form}"), ": ", say(f"models.support.{how}"), why))


def prices_document(prices: Iterable[Price], own: Path | None) -> Iterator[Block]:
    """Yields the table of prices, and which table that is."""
    names = ("in", "out", "currency", "batch", "date", "source")
    header = [say("models.name"), *(say(f"models.prices.{name}") for name in names)]
    rows: list[tuple[Cell, ...]] = []
    for price in prices:
        source = price.source + (f" ({price.note})" if price.note else "")
        batch = "" if price.batch is None else f"× {price.batch:g}"
        numbers = (f"{price.price_in:g}", f"{price.price_out:g}", price.currency, batch)
        rows.append((price.name, *numbers, str(price.date), source))
    yield Table.of_cells(say("models.prices.title"), header, rows, text=7)
    which = say("models.prices.bundled") if own is None else say("models.prices.own", file=own)
    yield line(which, kind="soft")

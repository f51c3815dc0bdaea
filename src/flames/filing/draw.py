"""Draws questions from the banks at random, and records how, so that they can be drawn again."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from flames import __version__
from flames.errors import InputError, UsageError
from flames.filing.banks import BankItems, BankOptions, Item, read_banks
from flames.filing.rules import BANKS, BankName, Rules, filing_taxonomy, load_rules, rules_path
from flames.options import Opt, SeedOptions
from flames.records import Frozen, Prompt, ids_sha256, seeded_order
from flames.storage.atomic import folder_atomic, to_jsonl, write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, read_prompts
from flames.storage.text_files import read_json_file
from flames.taxonomy import Taxonomy, load_taxonomy

PROMPTS, KEYWORDS, TAXONOMY, RULES, MANIFEST = (
    "prompts.jsonl", "keywords.jsonl", "taxonomy.json", "rules.json", "manifest.json",
)  # fmt: skip


def _sizes(given: Sequence[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for each in given:
        name, _, number = each.partition("=")
        if name not in BANKS[:-1] or not number.isdecimal() or int(number) < 1:
            raise UsageError(f"--size takes BANK=N ({', '.join(BANKS[:-1])}), not {each!r}")
        sizes[name] = int(number)
    return sizes


@dataclass(frozen=True, kw_only=True)
class DrawOptions(BankOptions, SeedOptions):
    """What is drawn, and where it goes."""

    out: Annotated[Path, Opt("Folder for the drawn questions.", metavar="FOLDER")]
    size: Annotated[
        Mapping[str, int],
        Opt(
            "Questions to draw from a bank, where not the official number; may be repeated.",
            metavar="BANK=N",
            parse=_sizes,
            repeat=True,
        ),
    ] = field(default_factory=dict)
    overwrite: Annotated[bool, Opt("Replace an earlier draw in that folder.")] = False


class DrawnClass(Frozen):
    """How many questions of a class its bank held and the draw took."""

    bank: int
    drawn: int


class DrawnBank(Frozen):
    """What was drawn from a bank of `n` different questions with a class, `left_out` without."""

    files: dict[str, str]
    n: int
    left_out: int
    asked: int
    drawn: int
    classes: dict[str, DrawnClass]


class DrawManifest(Frozen):
    """How a draw was made; `files` are the checksums of the folder's own files."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    created: str
    code_version: str
    seed: int
    method: str = "simple random sample without replacement: smallest SHA-256 of seed:id"
    rules: str
    rules_sha256: str
    banks: dict[BankName, DrawnBank]
    keywords: dict[str, str] = Field(default_factory=dict)
    ids_sha256: str
    files: dict[str, str]


@dataclass(frozen=True)
class Draw:
    """A draw in its folder."""

    path: Path
    manifest: DrawManifest
    rules: Rules
    taxonomy: Taxonomy

    def prompts(self) -> dict[str, Prompt]:
        """Returns the drawn questions by id, in their order."""
        read = ReadOptions(taxonomy=self.taxonomy)
        return {each.id: each for each in read_prompts(self.path / PROMPTS, read)}

    def keywords(self) -> list[dict[str, Any]]:
        """Returns the keywords (`keyword`, `class`); none where no such bank was given."""
        path = self.path / KEYWORDS
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def draw_banks(given: Sequence[str], options: DrawOptions) -> Draw:
    """Draws from banks (`NAME=FILE`) and writes the draw's folder.

    Each different question with a class of its bank has the same chance. Which are drawn depends
    on their texts and the seed, not on the order of the files.

    Raises:
        UsageError: The folder holds something already, or there is no bank to draw from.
    """
    rules = load_rules(options.rules)
    out = options.out
    empty = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not empty and not (options.overwrite and (out / MANIFEST).is_file()):
        cure = "is there; choose another --out, or --overwrite an earlier draw"
        raise UsageError(f"{out} {cure}")
    banks = read_banks(given, options, rules)
    drawable = [name for name in BANKS[:-1] if name in banks]
    if not drawable:
        raise UsageError(f"name a bank to draw from: {', '.join(BANKS[:-1])}")
    if extra := options.size.keys() - set(drawable):
        raise UsageError(f"--size names the bank {min(extra)!r}, which was not given")
    prompts: list[Prompt] = []
    counts: dict[BankName, DrawnBank] = {}
    for name in drawable:
        drawn, counts[name] = _draw(banks[name], rules, options)
        prompts += drawn
    keywords = banks.get("keywords")
    with folder_atomic(out) as folder:
        write_atomic(folder / PROMPTS, to_jsonl(each.to_dict() for each in prompts))
        taxonomy = filing_taxonomy(rules).model_dump(mode="json", by_alias=True, exclude_none=True)
        write_atomic(folder / TAXONOMY, json.dumps(taxonomy, ensure_ascii=False, indent=1) + "\n")
        write_atomic(folder / RULES, (options.rules or rules_path()).read_bytes())
        if keywords is not None:
            rows = ({"keyword": i.text, "class": i.place.code} for i in keywords.distinct())
            write_atomic(folder / KEYWORDS, to_jsonl(rows))
        manifest = DrawManifest(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            code_version=__version__,
            seed=options.seed,
            rules=rules.id,
            rules_sha256=file_sha256(folder / RULES),
            banks=counts,
            keywords=dict(keywords.files) if keywords else {},
            ids_sha256=ids_sha256(prompts),
            files={each.name: file_sha256(each) for each in sorted(folder.iterdir())},
        )
        data = manifest.model_dump(mode="json", by_alias=True)
        write_atomic(folder / MANIFEST, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
    return open_draw(out)


def _draw(bank: BankItems, rules: Rules, options: DrawOptions) -> tuple[list[Prompt], DrawnBank]:
    asked = rules.banks[bank.name].draw
    assert asked is not None
    size = options.size.get(bank.name, asked.value)
    covered = rules.covered(bank.name)
    distinct = bank.distinct()
    whole = [each for each in distinct if each.place.code in covered]
    if not whole:
        named = ", ".join(name for name, _ in bank.files)
        raise InputError(f"holds no question with a class of {bank.name}", path=named)
    order = seeded_order(options.seed)
    drawn = sorted(whole, key=lambda each: order(each.key))[:size]
    held, taken = (Counter(each.place.code for each in some) for some in (whole, drawn))
    counts = DrawnBank(
        files=dict(bank.files),
        n=len(whole),
        left_out=len(distinct) - len(whole),
        asked=size,
        drawn=len(drawn),
        classes={
            code: DrawnClass(bank=held[code], drawn=taken[code]) for code in covered if held[code]
        },
    )
    return [_prompt(each, bank.name, rules) for each in drawn], counts


def _prompt(item: Item, bank: BankName, rules: Rules) -> Prompt:
    code = item.place.code
    assert code is not None
    own = {} if item.id == item.key else {"bank_id": item.id}
    return Prompt.model_validate(
        {
            "id": f"{bank}-{item.key}",
            "dimension": rules.group_of[code].code if bank == "content" else bank,
            "subcomponent": code,
            "expected": rules.banks[bank].expected,
            "prompt": item.text,
            "source": os.path.basename(item.file),
            "bank": bank,
            **item.before,
            **own,
        }
    )


def open_draw(path: Path) -> Draw:
    """Opens a draw's folder and checks that its files are those that were written.

    Raises:
        InputError: There is no draw, or a file was changed.
    """
    if not (path / MANIFEST).is_file():
        what = "is no draw: it has no manifest.json" if path.exists() else "no such folder"
        raise InputError(what, path=path)
    manifest = read_json_file(DrawManifest, path / MANIFEST, "manifest of a draw")
    for name, sha256 in manifest.files.items():
        if os.path.basename(name) != name or file_sha256(path / name) != sha256:
            raise InputError("was changed since the draw; restore it, or draw again",
                             path=path / name)  # fmt: skip
    rules = load_rules(path / RULES)
    return Draw(path, manifest, rules, load_taxonomy(path / TAXONOMY))

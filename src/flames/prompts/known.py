"""Prompt sets that are known by name: bundled ones, published ones and those that users installed.

A set is `name` or `name@version`. Each has a card (`flames.prompts.card`).
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from flames.errors import InputError, OutsideError, UsageError
from flames.prompts.card import CARD, Card, read_card
from flames.storage.atomic import write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.download import is_address, read_published
from flames.storage.home import home


@dataclass(frozen=True)
class KnownSet:
    """A prompt set in a `folder` with its card; its file may be one that has to be fetched."""

    folder: Path

    @cached_property
    def card(self) -> Card:
        """What the set is."""
        return read_card(self.folder)

    @property
    def name(self) -> str:
        """The name without the version."""
        return self.card.name

    @property
    def path(self) -> Path:
        """The set's file."""
        if self.card.url is None:
            return self.folder / self.card.file
        return installed_folder() / f"{self.name}.jsonl"

    @property
    def present(self) -> bool:
        """Whether the file is there."""
        return self.path.is_file()


def installed_folder() -> Path:
    """Returns the folder of fetched and installed sets; it may not exist yet."""
    return home() / "prompts"


def _bundled(name: str) -> KnownSet:
    return KnownSet(Path(str(resources.files("flames").joinpath("data", "prompts", name))))


KNOWN_SETS: Mapping[str, KnownSet] = {
    name: _bundled(name) for name in ("open", "quick", "borderline", "flames-1k")
}
"""The bundled and published sets by name."""


def installed_sets() -> Iterator[KnownSet]:
    """Yields the sets that the user installed, by name, older versions first."""
    folder = installed_folder()
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    found = [(*_split(name), folder / name) for name in names if (folder / name / CARD).is_file()]
    for _, _, place in sorted(found, key=lambda each: (each[0], version_key(each[1] or ""))):
        yield KnownSet(place)


def version_key(version: str) -> tuple[tuple[int, int | str], ...]:
    """Returns what versions are sorted by: numbers as numbers, so that 1.10 comes after 1.9."""
    parts = re.findall(r"\d+|[^\d.+_-]+", version)
    return tuple((1, int(part)) if part.isdigit() else (0, part) for part in parts)


def _split(given: str) -> tuple[str, str | None]:
    name, at, version = given.rpartition("@")
    return (name, version) if at else (given, None)


def find_set(given: str) -> KnownSet | None:
    """Returns the set of a name, `name@version`, or a folder with a card; None for other paths.

    A name without a version is that of the bundled set, else of the newest one installed. A name
    wins over a file of that name.

    Raises:
        UsageError: The set has to be fetched first.
        InputError: There is neither a set of that name nor such a file.
    """
    known = _by_name(given)
    if known is not None:
        if not known.present:
            name = known.name
            raise UsageError(
                f"the prompt set {name!r} is not here yet: flames prompts fetch {name}"
            )
        return known
    if given == "-" or os.path.lexists(given):
        folder = Path(given)
        if folder.name == CARD:
            folder = folder.parent
        if not folder.is_dir():
            return None
        known = KnownSet(folder)
        if not known.present:
            raise InputError(f"no such file, the {CARD} beside it names it", path=known.path)
        return known
    raise InputError(f"no such file, and no prompt set of that name; {_hint(given)}", path=given)


def _by_name(given: str) -> KnownSet | None:
    name, version = _split(given)
    known = KNOWN_SETS.get(name)
    if known is not None and version in (None, known.card.version):
        return known
    if os.sep in name or not name:
        return None
    if version is not None:
        folder = installed_folder() / given
        return KnownSet(folder) if (folder / CARD).is_file() else None
    same = [each for each in installed_sets() if _split(each.folder.name)[0] == name]
    return same[-1] if same else None


def _hint(given: str) -> str:
    name, version = _split(given)
    own = [KNOWN_SETS[name].card.version] if name in KNOWN_SETS else []
    parts = [_split(each.folder.name) for each in installed_sets()]
    own += [there for other, there in parts if other == name and there]
    if version is not None and own:
        return f"versions of {name}: {', '.join(own)}"
    names = list(dict.fromkeys((*KNOWN_SETS, *(other for other, _ in parts))))
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"sets: {', '.join(names)}"


def fetch_prompts(name: str, source: str | None = None) -> Path:
    """Fetches a known prompt set into the user's cache and checks its SHA-256.

    `source` is a mirror's URL (http, https) or a local file; the publisher's URL by default.
    """
    known = KNOWN_SETS.get(name)
    if known is None:
        raise UsageError(f"no prompt set {name!r} to fetch; sets: {', '.join(KNOWN_SETS)}")
    card = known.card
    intact = known.present and (card.url is None or file_sha256(known.path) == card.sha256)
    if card.url is None or (source is None and intact):
        return known.path
    address = card.url if source is None else source
    data = read_published(address, _by_hand(card))
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        message = f"is not the published {name} file: SHA-256 {found}, expected {card.sha256}"
        if is_address(address):
            raise OutsideError(f"{address}: {message}{_by_hand(card)}")
        raise InputError(message, path=address)
    return write_atomic(known.path, data)


def _by_hand(card: Card) -> str:
    return f"; download {card.url} by hand and run: flames prompts fetch {card.name} --from FILE"

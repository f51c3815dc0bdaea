"""Prompt sets: loading by name or path, samples, recognising the known ones."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

from flames.errors import FlamesError, InputError
from flames.options import CheckedOptions, Opt, check_range
from flames.prompts.card import CARD
from flames.prompts.known import KNOWN_SETS, KnownSet, find_set
from flames.records import Prompt, PromptSetInfo, ids_sha256, seeded_order
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, read_prompts
from flames.storage.text_files import open_binary
from flames.taxonomy import Taxonomy, default_taxonomy


@dataclass(frozen=True)
class SampleOptions(CheckedOptions):
    """Whether only a sample of the prompts is taken."""

    limit: Annotated[
        int | None,
        Opt("Take a random sample of N prompts, balanced over subcomponents.", metavar="N", min=1),
    ] = None


@dataclass(frozen=True)
class PromptSet:
    """A named set of prompts in the file's order, each id once; a whole set has no `limit`."""

    name: str
    sha256: str
    prompts: tuple[Prompt, ...]
    path: Path
    version: str | None = None
    limit: int | None = None
    seed: int | None = None

    @property
    def full_name(self) -> str:
        """The name with the version, `open@1`."""
        return self.info.full_name

    @cached_property
    def by_id(self) -> Mapping[str, Prompt]:
        """The prompts by id."""
        return {prompt.id: prompt for prompt in self.prompts}

    @cached_property
    def ids_sha256(self) -> str:
        """Checksum of the prompts' ids; see `flames.records.ids_sha256`."""
        return ids_sha256(self.prompts)

    @property
    def info(self) -> PromptSetInfo:
        """Name, checksums and size, as every result carries them."""
        return PromptSetInfo(
            name=self.name,
            version=self.version,
            sha256=self.sha256,
            n=len(self.prompts),
            ids_sha256=self.ids_sha256,
            limit=self.limit,
            seed=self.seed,
        )

    def missing(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        """Returns the dimensions without a prompt; a set with any is partial."""
        present = {prompt.dimension for prompt in self.prompts}
        return tuple(name for name in taxonomy.names if name not in present)

    def sample(self, limit: int, seed: int = 0) -> PromptSet:
        """Returns a sample, as even over the subcomponents as possible.

        It depends on the ids and the seed alone, not on the order of the file; the larger of
        two samples contains the smaller one. A set of at most `limit` prompts is kept whole.
        """
        check_range("--limit", limit, 1)
        if limit >= len(self.prompts):
            return self
        chosen = set(_balanced(self.prompts, limit, seed))
        prompts = tuple(prompt for prompt in self.prompts if prompt.id in chosen)
        return replace(self, prompts=prompts, limit=limit, seed=seed)


def _balanced(prompts: tuple[Prompt, ...], limit: int, seed: int) -> list[str]:
    drawn = seeded_order(seed)
    groups: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for prompt in prompts:
        groups[prompt.dimension][prompt.subcomponent or ""].append(prompt.id)
    order: list[tuple[int, int, int, str]] = []
    for d, dimension in enumerate(sorted(groups, key=drawn)):
        for s, subcomponent in enumerate(sorted(groups[dimension], key=drawn)):
            ids = sorted(groups[dimension][subcomponent], key=drawn)
            order += [(turn, s, d, prompt_id) for turn, prompt_id in enumerate(ids)]
    return [prompt_id for *_, prompt_id in sorted(order)[:limit]]


def load_prompts(
    name_or_path: str | os.PathLike[str],
    *,
    taxonomy: Taxonomy | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> PromptSet:
    """Loads a prompt set by name, or from a file (`-` is JSON Lines on standard input).

    A file with the checksum of a known set gets that set's name and version, any other its stem.

    Args:
        name_or_path: A set (see `flames.prompts.known.find_set`), or a file.
        mapping: Our field name → the file's.
        limit: Size of a sample (see `PromptSet.sample`).

    Raises:
        UsageError: The set has to be fetched first.
        InputError: There is no such set or file, a row is no prompt, there are no rows, or the file
            is not the one of its card.
    """
    given = os.fspath(name_or_path)
    known = find_set(given)
    options = ReadOptions(taxonomy or default_taxonomy(), mapping or {}, encoding, sheet)
    path = given if known is None else str(known.path)
    with _regular(path) as file:
        try:
            sha256 = file_sha256(file)
            prompts = tuple(read_prompts(file, options))
        except InputError as error:
            raise error.at(path, error.line) if file != path else error from None
    if not prompts:
        raise InputError("holds no prompts", path=path)
    if known is None:
        known = _by_checksum(Path(given), sha256)
    elif sha256 != known.card.sha256:
        raise InputError(
            f"is not the file of {known.card.full_name}: SHA-256 {sha256[:12]}…, its card says "
            f"{known.card.sha256[:12]}…; flames prompts validate {given} tells what differs",
            path=path,
        )
    name = known.name if known else "stdin" if given == "-" else Path(given).stem
    version = known.card.version if known else None
    whole = PromptSet(name, sha256, prompts, Path(path), version)
    return whole if limit is None else whole.sample(limit, seed)


def _by_checksum(path: Path, sha256: str) -> KnownSet | None:
    """Returns the set whose file this is: that of a card beside it, or a known one."""
    beside = [KnownSet(path.parent)] if (path.parent / CARD).is_file() else []
    return next((k for k in (*beside, *KNOWN_SETS.values()) if k.card.sha256 == sha256), None)


@contextmanager
def _regular(path: str) -> Iterator[str]:
    """Yields a file that can be read twice: a copy of a pipe or of standard input."""
    if path != "-" and (os.path.isdir(path) or stat.S_ISREG(os.stat(path).st_mode)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="flames-") as folder:
        copy = os.path.join(folder, "prompts.jsonl")
        with open_binary(path) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target)
        yield copy


_Kept = tuple[tuple[object, ...], Taxonomy | None, PromptSet]
_KEPT: dict[str, _Kept] = {}  # the known sets by name, as they were last read


def _present_set(known: KnownSet, taxonomy: Taxonomy | None) -> PromptSet:
    file = os.stat(known.path)
    state = (known.path, file.st_ino, file.st_size, file.st_mtime_ns)
    kept = _KEPT.get(known.name)
    if kept is None or kept[0] != state or kept[1] is not taxonomy:
        kept = _KEPT[known.name] = (state, taxonomy, load_prompts(known.name, taxonomy=taxonomy))
    return kept[2]


def _present_sets(taxonomy: Taxonomy | None) -> Iterator[PromptSet]:
    for known in KNOWN_SETS.values():
        if known.present:
            try:
                yield _present_set(known, taxonomy)
            except FlamesError:
                if taxonomy is None:
                    raise
                # the set has other dimensions than this taxonomy


def known_prompts(taxonomy: Taxonomy | None = None) -> dict[str, Prompt]:
    """Returns the prompts of all bundled and fetched sets that fit a taxonomy, by id."""
    return {prompt.id: prompt for known in _present_sets(taxonomy) for prompt in known.prompts}


def identify(prompt_ids: Set[str], taxonomy: Taxonomy | None = None) -> PromptSet | None:
    """Returns the smallest known set that has all these ids; None if there is none."""
    if not prompt_ids:
        return None
    holding = [known for known in _present_sets(taxonomy) if prompt_ids <= known.by_id.keys()]
    return min(holding, key=lambda known: len(known.prompts), default=None)

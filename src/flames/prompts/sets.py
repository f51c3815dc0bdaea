"""What a prompt set is, which ones are known, and how one is loaded by name or path."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import stat
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flames.errors import FlamesError, InputError, UsageError
from flames.records import Prompt, ids_sha256
from flames.storage.checksums import file_sha256
from flames.storage.home import home
from flames.storage.record_files import ReadOptions, read_prompts
from flames.storage.rows import open_binary
from flames.taxonomy import Taxonomy, default_taxonomy

if TYPE_CHECKING:
    from flames.records import PromptSetInfo


class KnownSet(NamedTuple):
    """A prompt set that is known by name.

    `file` is the name of the bundled file; a set without one is fetched from `url` and must
    have the checksum `sha256`.
    """

    name: str
    title: str
    licence: str
    file: str | None = None
    url: str | None = None
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where the set's file is, or will be once fetched."""
        if self.file is not None:
            return Path(str(resources.files("flames").joinpath("data", self.file)))
        return home() / "prompts" / f"{self.name}.jsonl"

    @property
    def present(self) -> bool:
        """Whether the set can be used without fetching it first."""
        return self.path.is_file()


KNOWN_SETS: Mapping[str, KnownSet] = {
    known.name: known
    for known in (
        KnownSet(
            "open",
            "Flames' own open set: 240 prompts, 20 a subcomponent",
            "Apache-2.0",
            file="prompts_open.jsonl",
        ),
        KnownSet(
            "quick",
            "24 prompts of `open`, two a subcomponent, for a quick look",
            "Apache-2.0",
            file="prompts_quick.jsonl",
        ),
        KnownSet(
            "flames-1k",
            "The public 1,000 prompts of the Flames benchmark (NAACL 2024)",
            "Apache-2.0",
            url="https://raw.githubusercontent.com/AIFlames/Flames/main/Flames_1k_Chinese.jsonl",
            sha256="f53400dcbb8795fb262993bda0615afdc77de1c4685e7c94d2df2a3cd47613fa",
        ),
    )
}


@dataclass(frozen=True)
class PromptSet:
    """A named set of prompts.

    Args:
        name: How results name it.
        sha256: Of the set's file.
        prompts: In the file's order, each id once.
        path: The file it came from.
        limit: How many prompts a sample was to draw; None for the whole set.
        seed: What the sample was drawn with.
    """

    name: str
    sha256: str
    prompts: tuple[Prompt, ...]
    path: Path
    limit: int | None = None
    seed: int | None = None

    @cached_property
    def by_id(self) -> Mapping[str, Prompt]:
        """The prompts by id."""
        return {prompt.id: prompt for prompt in self.prompts}

    @cached_property
    def ids_sha256(self) -> str:
        """The same for the same prompts; see `flames.records.ids_sha256`."""
        return ids_sha256({prompt.id: prompt.text for prompt in self.prompts})

    @property
    def info(self) -> PromptSetInfo:
        """Name, checksums and size, as every result carries them."""
        from flames.records import PromptSetInfo

        return PromptSetInfo(
            name=self.name,
            sha256=self.sha256,
            n=len(self.prompts),
            ids_sha256=self.ids_sha256,
            limit=self.limit,
            seed=self.seed,
        )

    def missing(self, taxonomy: Taxonomy) -> tuple[str, ...]:
        """The dimensions that no prompt is about; a set that has any is partial."""
        there = {prompt.dimension for prompt in self.prompts}
        return tuple(name for name in taxonomy.names if name not in there)

    def sample(self, limit: int, seed: int = 0) -> PromptSet:
        """A sample of `limit` prompts, as even over the subcomponents as can be.

        It depends on the ids and the seed alone, not on the order of the file; the larger of
        two samples holds the smaller one. A set that is no larger than `limit` is kept whole.

        Args:
            limit: How many, at least 1.
            seed: Another seed draws others.
        """
        if limit < 1:
            raise UsageError("a sample holds at least one prompt")
        if limit >= len(self.prompts):
            return self
        chosen = set(_balanced(self.prompts, limit, seed))
        prompts = tuple(prompt for prompt in self.prompts if prompt.id in chosen)
        return replace(self, prompts=prompts, limit=limit, seed=seed)


def _balanced(prompts: tuple[Prompt, ...], limit: int, seed: int) -> list[str]:
    """Ids in rounds: each round takes one prompt a subcomponent, dimension after dimension."""

    def drawn(text: str) -> str:
        return hashlib.sha256(f"{seed}:{text}".encode("utf-8", "surrogatepass")).hexdigest()

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
    limit: int | None = None,
    seed: int = 0,
) -> PromptSet:
    """Loads a prompt set by name, or from a file (`-` is JSON Lines on standard input).

    A file whose checksum is that of a known set goes by that set's name, any other by its stem.

    Args:
        name_or_path: One of `KNOWN_SETS`, or a file; a name wins over a file of that name.
        taxonomy: What dimensions and subcomponents are looked up in; Flames' own unless given.
        mapping: Our field name → the file's.
        encoding: Of the file; UTF-8 unless given.
        limit: Draw a sample of that many prompts (see `PromptSet.sample`).
        seed: Of the sample.

    Raises:
        UsageError: There is no such set or file, or the set has to be fetched first.
        InputError: The file holds something that is no prompt, or nothing.
    """
    given = os.fspath(name_or_path)
    known = KNOWN_SETS.get(given)
    if known is not None and not known.present:
        raise UsageError(f"the prompt set {given!r} is not here yet: flames prompts fetch {given}")
    if known is None and given != "-" and not os.path.lexists(given):
        names = ", ".join(KNOWN_SETS)
        close = difflib.get_close_matches(given, KNOWN_SETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"sets: {names}"
        raise InputError(f"no such file, and no prompt set of that name; {hint}", path=given)
    options = ReadOptions(
        taxonomy=taxonomy or default_taxonomy(), mapping=mapping or {}, encoding=encoding
    )
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
        known = next((k for k in KNOWN_SETS.values() if k.sha256 == sha256), None)
    name = known.name if known else "stdin" if given == "-" else Path(given).stem
    whole = PromptSet(name, sha256, prompts, Path(path))
    return whole if limit is None else whole.sample(limit, seed)


@contextmanager
def _regular(path: str) -> Iterator[str]:
    """A file that can be read twice: pipes and standard input are copied to one first."""
    if path != "-" and (os.path.isdir(path) or stat.S_ISREG(os.stat(path).st_mode)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="flames-") as folder:
        copy = os.path.join(folder, "prompts.jsonl")
        with open_binary(path) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target)
        yield copy


def _present_sets(taxonomy: Taxonomy | None) -> Iterator[PromptSet]:
    for known in KNOWN_SETS.values():
        if known.present:
            try:
                yield load_prompts(known.name, taxonomy=taxonomy)
            except FlamesError:
                if taxonomy is None:
                    raise
                # the set is about other dimensions than this taxonomy's


def known_prompts(taxonomy: Taxonomy | None = None) -> dict[str, Prompt]:
    """The prompts of all sets that are bundled or were fetched, by id.

    Args:
        taxonomy: Leave out the sets that do not fit this taxonomy.
    """
    return {prompt.id: prompt for known in _present_sets(taxonomy) for prompt in known.prompts}


def identify(prompt_ids: Set[str], taxonomy: Taxonomy | None = None) -> PromptSet | None:
    """The known set whose prompts these are: the smallest one that holds all the ids."""
    if not prompt_ids:
        return None
    holding = [known for known in _present_sets(taxonomy) if prompt_ids <= known.by_id.keys()]
    return min(holding, key=lambda known: len(known.prompts), default=None)

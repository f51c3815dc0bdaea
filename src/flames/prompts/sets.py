"""Prompt sets: the known ones, loading by name or path, fetching what others publish."""

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
from typing import Annotated, NamedTuple

from flames.errors import FlamesError, InputError, OutsideError, UsageError
from flames.options import CheckedOptions, Opt, check_range
from flames.records import Prompt, PromptSetInfo, ids_sha256, seeded_order
from flames.storage.atomic import write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.download import is_address, read_published
from flames.storage.home import home
from flames.storage.record_files import ReadOptions, read_prompts
from flames.storage.text_files import open_binary
from flames.taxonomy import Taxonomy, default_taxonomy


class KnownSet(NamedTuple):
    """A prompt set with a name: a bundled `file`, or one fetched from `url`, with its checksum."""

    name: str
    title: str
    licence: str
    file: str | None = None
    url: str | None = None
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """The set's file, which may have to be fetched first."""
        if self.file is not None:
            return Path(str(resources.files("flames").joinpath("data", self.file)))
        return home() / "prompts" / f"{self.name}.jsonl"

    @property
    def present(self) -> bool:
        """Whether the file is there."""
        return self.path.is_file()


KNOWN_SETS: Mapping[str, KnownSet] = {
    known.name: known
    for known in (
        KnownSet(
            "open",
            "Flames' own open set: 240 prompts, 20 per subcomponent",
            "Apache-2.0",
            file="prompts_open.jsonl",
        ),
        KnownSet(
            "quick",
            "24 prompts of `open`, two per subcomponent, for a quick look",
            "Apache-2.0",
            file="prompts_quick.jsonl",
        ),
        KnownSet(
            "borderline",
            "247 harmless questions that sound sensitive, and 120 requests to refuse",
            "Apache-2.0",
            file="prompts_borderline.jsonl",
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
    limit: int | None = None
    seed: int | None = None

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

    A file with the checksum of a known set gets that set's name, any other its stem.

    Args:
        name_or_path: One of `KNOWN_SETS`, or a file; a name wins over a file of that name.
        mapping: Our field name → the file's.
        limit: Size of a sample (see `PromptSet.sample`).

    Raises:
        UsageError: The set has to be fetched first.
        InputError: There is no such set or file, or a row is no prompt, or there are no rows.
    """
    given = os.fspath(name_or_path)
    known = KNOWN_SETS.get(given)
    if known is not None and not known.present:
        raise UsageError(f"the prompt set {given!r} is not here yet: flames prompts fetch {given}")
    if known is None and given != "-" and not os.path.lexists(given):
        close = difflib.get_close_matches(given, KNOWN_SETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"sets: {', '.join(KNOWN_SETS)}"
        raise InputError(f"no such file, and no prompt set of that name; {hint}", path=given)
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
        known = next((k for k in KNOWN_SETS.values() if k.sha256 == sha256), None)
    name = known.name if known else "stdin" if given == "-" else Path(given).stem
    whole = PromptSet(name, sha256, prompts, Path(path))
    return whole if limit is None else whole.sample(limit, seed)


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


def _present_sets(taxonomy: Taxonomy | None) -> Iterator[PromptSet]:
    for known in KNOWN_SETS.values():
        if known.present:
            try:
                yield load_prompts(known.name, taxonomy=taxonomy)
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


def fetch_prompts(name: str, source: str | None = None) -> Path:
    """Fetches a known prompt set into the user's cache and checks its SHA-256.

    `source` is a mirror's URL (http, https) or a local file; the publisher's URL by default.
    """
    known = KNOWN_SETS.get(name)
    if known is None:
        raise UsageError(f"no prompt set {name!r} to fetch; sets: {', '.join(KNOWN_SETS)}")
    intact = known.present and (known.url is None or file_sha256(known.path) == known.sha256)
    if known.url is None or (source is None and intact):
        return known.path
    address = known.url if source is None else source
    data = read_published(address, _by_hand(known))
    found = hashlib.sha256(data).hexdigest()
    if found != known.sha256:
        message = f"is not the published {name} file: SHA-256 {found}, expected {known.sha256}"
        if is_address(address):
            raise OutsideError(f"{address}: {message}{_by_hand(known)}")
        raise InputError(message, path=address)
    return write_atomic(known.path, data)


def _by_hand(known: KnownSet) -> str:
    return f"; download {known.url} by hand and run: flames prompts fetch {known.name} --from FILE"

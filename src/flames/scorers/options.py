"""The options of a scorer as a user gives them, and the scorer that they load."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from flames.collect.limits import Budget
from flames.collect.pace_share import PaceShare
from flames.collect.settings import AskSettings
from flames.errors import UsageError
from flames.models.base import ChatModel
from flames.options import CheckedOptions, Opt
from flames.prompts.sets import known_prompts, load_prompts
from flames.scorers.base import IgnoreSelftest, InputTruncation, Scorer, ScorerContext, Truncated
from flames.scorers.registry import check_understood, load_among
from flames.storage.record_files import ReadOptions, RecordOptions
from flames.storage.row_files import TableForm
from flames.taxonomy import Taxonomy, TaxonomyOptions, load_taxonomy

# What commands have flags of their own for.
_NAMED = (
    "base_url", "api_key_env", "concurrency", "timeout", "ignore_selftest", "input_truncation",
)  # fmt: skip


def parse_options(pairs: Iterable[str]) -> dict[str, Any]:
    """Reads `["votes=3", "name=x"]` as `{"votes": 3, "name": "x"}`: JSON where it is, else text.

    `temperature@MODEL=1` is for one judge of a panel.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not (name.strip() and equals):
            raise UsageError(f"--scorer-option takes NAME=VALUE, not {pair!r}")
        option, at, who = name.strip().partition("@")
        key = option.replace("-", "_") + at + who
        try:
            options[key] = json.loads(text)
        except ValueError:
            options[key] = text
    return options


ScorerName = Annotated[
    str, Opt("A scorer by name or path, as for --scorer.", metavar="SCORER", positional=True)
]


@dataclass(frozen=True)
class InfoOptions(TaxonomyOptions):
    """Which scorer is described."""

    scorer: ScorerName = "default"
    path: Annotated[bool, Opt("Print only the file behind labels:FILE, for scripts.")] = False


@dataclass(frozen=True)
class ScorerOptions(CheckedOptions):
    """Options that only the scorer understands."""

    scorer_options: Annotated[
        Mapping[str, Any],
        Opt(
            "An option of the scorer, like votes=3; may be repeated.",
            flag="--scorer-option",
            metavar="NAME=VALUE",
            parse=parse_options,
            repeat=True,
        ),
    ] = field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """Returns the scorer's options by name, for `load_with`."""
        named = {name: getattr(self, name, None) for name in _NAMED}
        return {**self.scorer_options, **{n: v for n, v in named.items() if v is not None}}


@dataclass(frozen=True)
class ScoringOptions(ScorerOptions):
    """The scorer and what it does with truncated responses."""

    scorer: Annotated[
        str,
        Opt(
            "default, lexical, PATH, flames-scorer, judge:MODEL, guard:MODEL or labels:FILE.",
            metavar="S",
        ),
    ] = "default"
    truncated: Annotated[
        Truncated, Opt("What happens to truncated responses: scored (and flagged), or unscored.")
    ] = "scored"


@dataclass(frozen=True)
class EndpointOptions(ScorerOptions):
    """How a judge or guard is reached."""

    base_url: Annotated[str | None, Opt("Endpoint of a judge or guard.", metavar="URL")] = None
    api_key_env: Annotated[
        str | None, Opt("Environment variable that holds its key.", metavar="NAME")
    ] = None
    concurrency: Annotated[int | None, Opt("Concurrent requests at most.", metavar="N", min=1)] = (
        None
    )
    timeout: Annotated[float | None, Opt("Request timeout.", metavar="SECONDS", min=0.001)] = None


@dataclass(frozen=True)
class TrainedOptions(ScorerOptions):
    """How a trained scorer is used, as flags of a command."""

    ignore_selftest: IgnoreSelftest = None
    input_truncation: InputTruncation = None


@dataclass(frozen=True)
class EngineOptions(CheckedOptions):
    """Where the scorer runs: in this process, or in workers of a Ray cluster."""

    engine: Annotated[
        Literal["local", "ray"], Opt("Score in this process, or in workers of a Ray cluster.")
    ] = "local"
    address: Annotated[
        str | None,
        Opt("Ray cluster to use (auto, HOST:PORT); else one of this machine.", metavar="ADDRESS"),
    ] = None
    workers: Annotated[
        int | None,
        Opt("Number of workers; by default as many as fit.", metavar="N", min=1),
    ] = None
    worker_cpus: Annotated[int, Opt("CPU cores per worker.", metavar="N", min=1)] = 1
    worker_gpus: Annotated[
        float, Opt("GPUs per worker; 0.5 puts two on one.", metavar="N", min=0)
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        plain = EngineOptions.__dataclass_fields__
        for name in ("address", "workers", "worker_cpus", "worker_gpus"):
            if self.engine == "local" and getattr(self, name) != plain[name].default:
                raise UsageError(f"--{name.replace('_', '-')} goes with --engine ray")
        if self.address is not None and self.address.startswith("ray://"):
            raise UsageError(
                "--address ray://… is a client's address; run the command on a node of the "
                "cluster (ray job submit … -- flames score …) with --address auto"
            )


@dataclass(frozen=True)
class ScoreOptions(TrainedOptions, EndpointOptions, ScoringOptions, EngineOptions, RecordOptions):
    """What scores responses, how they are read and where the verdicts go."""

    out: Annotated[Path | None, Opt("Output file; else standard output.", metavar="FILE")] = None
    format: Annotated[
        Literal["jsonl", "xlsx", "parquet", "official"],
        Opt("official: the released script's format, as <input>_predicted.jsonl."),
    ] = "jsonl"
    prompts: Annotated[
        str | None,
        Opt("Set with the responses' prompts; by default the known sets.", metavar="SET|PATH"),
    ] = None
    overwrite: Annotated[
        bool, Opt("Replace an output file that holds anything but the same verdicts.")
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.table is not None and self.out is None:
            raise UsageError(f"--format {self.table} needs --out FILE")
        if self.table == "xlsx" and self._suffix != ".xlsx":
            raise UsageError(f"{self.out}: a workbook is read by its name: call it .xlsx")

    @property
    def table(self) -> TableForm | None:
        """The form of a table, also where only the output file's name says so."""
        forms: tuple[TableForm, ...] = get_args(TableForm)
        named = self._suffix if self.format == "jsonl" else ""
        return next((f for f in forms if self.format == f or named == f".{f}"), None)

    @property
    def _suffix(self) -> str:
        return "" if self.out is None else Path(self.out).suffix.lower()

    def read_options(self) -> ReadOptions:
        """Loads the taxonomy and the known prompts, and returns how responses are read."""
        read = super().read_options()
        if self.prompts is None:
            known = known_prompts(None if self.taxonomy is None else read.taxonomy)
            return replace(read, prompts=known)
        return replace(read, prompts=load_prompts(self.prompts, taxonomy=read.taxonomy).by_id)


def load_with(
    spec: str,
    options: Mapping[str, Any] | None = None,
    taxonomy: str | Path | Taxonomy | None = None,
    *,
    beside: Iterable[str] = (),
    budgets: tuple[Budget, ...] = (),
    pace: Callable[[ChatModel, AskSettings], PaceShare] | None = None,
) -> Scorer:
    """Loads the scorer behind `--scorer`; of its options, None counts as not given.

    `beside` are other scorers that get the same options; an option that none of them understands
    is refused. `budgets` are those that its requests count for, `pace` is the one they keep.
    """
    loaded = taxonomy if isinstance(taxonomy, Taxonomy) else load_taxonomy(taxonomy)
    given = {name: value for name, value in (options or {}).items() if value is not None}
    check_understood((spec, *beside), given)
    prompts = known_prompts(None if taxonomy is None else loaded)
    context = ScorerContext(
        taxonomy=loaded, prompts=prompts, options=given, budgets=budgets, pace=pace
    )
    return load_among(spec, context)

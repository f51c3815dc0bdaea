"""What can be set about a project, its server and its files. Needs no extra to be imported."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from flames.errors import UsageError
from flames.options import (
    CheckedOptions,
    Opt,
    SeedOptions,
    check_choice,
    default_language,
    wrong_value,
)
from flames.storage.record_files import ReadOptions
from flames.taxonomy import Language

Role = Literal["annotator", "adjudicator", "lead"]
Labels = Literal["all", "adjudicated", "majority", "dawid-skene", "known"]
Choice = Literal["random", "uncertain", "disagreeing"]
Format = Literal["jsonl", "csv", "label-studio"]

ROLES: tuple[Role, ...] = get_args(Role)
LABELS: tuple[Labels, ...] = get_args(Labels)
FORMATS: tuple[Format, ...] = get_args(Format)
DEFAULT_URL = "http://127.0.0.1:8400"
SETTLE_SECONDS = 0.6  # the second of two clicks, taps or keys comes within half a second
STRATA = ("dimension", "subcomponent", "technique", "model", "sample", "status")


@dataclass(frozen=True)
class ProjectPlan(CheckedOptions):
    """Settings of a new project; `options` says how files are read."""

    sources: Annotated[
        tuple[str | Path, ...],
        Opt(
            "Responses: a run, a file, labels:silver or labels:natural (bundled, simulated); "
            "may be repeated.",
            flag="--from",
            metavar="RUN|FILE",
        ),
    ]
    per_item: Annotated[int, Opt("Labels per response.", metavar="N", min=1)] = 2
    sample: Annotated[
        int | None, Opt("Number of responses to draw; all by default.", metavar="N", min=1)
    ] = None
    stratify: Annotated[
        tuple[str, ...],
        Opt(
            f"Draw the same number from each value of these fields: {', '.join(STRATA)}.",
            metavar="FIELD,…",
            commas=True,
        ),
    ] = ("dimension",)
    choose: Annotated[
        Choice,
        Opt("Draw at random, or more often where a scorer is unsure or scorers differ."),
    ] = "random"
    scorers: Annotated[
        tuple[str, ...],
        Opt(
            "Scorer for --choose, or a file of its verdicts; may be repeated.",
            flag="--scorer",
            metavar="SCORER|FILE",
        ),
    ] = ()
    annotators: Annotated[
        tuple[str, ...], Opt("How many annotators, or their names.", metavar="N|NAMES", commas=True)
    ] = ("2",)
    adjudicators: Annotated[
        tuple[str, ...],
        Opt("How many adjudicators, or their names.", metavar="N|NAMES", commas=True),
    ] = ("1",)
    lead: Annotated[str, Opt("Name of the project lead.", metavar="NAME")] = "lead"
    training: Annotated[
        tuple[str | Path, ...] | None,
        Opt(
            "Training items with known answers, not the bundled ones, or none; may be repeated.",
            metavar="FILE",
        ),
    ] = None
    controls: Annotated[
        tuple[str | Path, ...],
        Opt("Items with known answers, mixed into every queue; may be repeated.", metavar="FILE"),
    ] = ()
    control_rate: Annotated[
        float, Opt("Share of control items in a queue.", metavar="SHARE", min=0, max=0.5)
    ] = 0.1
    lease_minutes: Annotated[
        float,
        Opt("Minutes until others get an unanswered item.", metavar="N", min=0.01, max=43_200),
    ] = 30
    min_seconds: Annotated[
        float,
        Opt(
            "Mark answers given sooner than this after the item was shown.",
            metavar="SECONDS",
            min=0,
            max=600,
        ),
    ] = 0
    pass_training: Annotated[
        float | None,
        Opt(
            "Share of the training round to get right; who gets less is held until the lead "
            "decides.",
            metavar="SHARE",
            min=0,
            max=1,
        ),
    ] = None
    pass_controls: Annotated[
        float | None,
        Opt(
            "Share of the control items to get right, from the fifth on; who gets less is held "
            "until the lead decides.",
            metavar="SHARE",
            min=0,
            max=1,
        ),
    ] = None
    database: Annotated[
        str | None,
        Opt(
            "postgresql://USER@HOST/NAME for a team; by default a SQLite file in the project. "
            "Put the password into PGPASSWORD or FLAMES_ANNOTATE_DATABASE.",
            metavar="URL",
        ),
    ] = None
    name: Annotated[str | None, Opt("Name; that of the folder by default.", metavar="NAME")] = None
    public_url: Annotated[
        str | None,
        Opt("Public address of the server, used in personal links.", flag="--url", metavar="URL"),
    ] = None
    lang: Annotated[
        Language,
        Opt("Language of the pages for people who have not chosen one; the locale's by default."),
    ] = field(default_factory=default_language)
    seed: Annotated[int, Opt("Seed of the sample and of every queue's order.", metavar="N")] = 0
    options: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise UsageError("a project needs runs or files of responses: --from RUN|FILE")
        for name in self.stratify:
            check_choice("--stratify", name, STRATA)
        needed = {"random": 0, "uncertain": 1, "disagreeing": 2}[self.choose]
        if len(self.scorers) < needed or (self.scorers and not needed):
            counts = "one scorer, disagreeing two or more; random takes none"
            raise UsageError(f"--choose uncertain needs {counts}: --scorer SCORER")
        if needed and self.sample is None:
            raise UsageError(f"--choose {self.choose} needs the number to draw: --sample N")
        if self.pass_controls is not None and not self.controls:
            raise UsageError("--pass-controls needs items with known answers: --controls FILE")
        if self.pass_training is not None and self.training and set(self.training) == {"none"}:
            raise UsageError("--pass-training needs a training round, not --training none")
        if self.public_url is not None:
            object.__setattr__(self, "public_url", checked_url(self.public_url))

    @property
    def people(self) -> tuple[tuple[str, Role], ...]:
        """Names and roles of everybody; `3` annotators are annotator-1 to annotator-3."""
        return (
            (self.lead, "lead"),
            *((name, "adjudicator") for name in _names(self.adjudicators, "adjudicator")),
            *((name, "annotator") for name in _names(self.annotators, "annotator")),
        )


def _names(given: tuple[str, ...], role: Role) -> tuple[str, ...]:
    if len(given) == 1 and given[0].isdecimal():
        return tuple(f"{role}-{number}" for number in range(1, int(given[0]) + 1))
    return given


@dataclass(frozen=True)
class LinkOptions(CheckedOptions):
    """How personal links begin."""

    url: Annotated[
        str | None,
        Opt(f"Public address of the server; by default init's, else {DEFAULT_URL}.", metavar="URL"),
    ] = None
    days: Annotated[
        float | None,
        Opt("Days until the link stops working; never by default.", metavar="N", min=0.01),
    ] = None
    once: Annotated[
        bool, Opt("The link works once: another browser or device needs a new one.")
    ] = False


@dataclass(frozen=True)
class InviteOptions(LinkOptions):
    """What a new person may do."""

    role: Annotated[Role, Opt("Role of the person.")] = "annotator"


@dataclass(frozen=True)
class TokenOptions(CheckedOptions):
    """How long a program may act as a person."""

    days: Annotated[float, Opt("Days until the token ends.", metavar="N", min=0.01, max=3650)] = 90


@dataclass(frozen=True)
class WebhookOptions(CheckedOptions):
    """Who is told of finished items, and how often it is looked for them."""

    url: Annotated[str, Opt("Address that takes the messages by POST.", metavar="URL")]
    interval: Annotated[
        float, Opt("Seconds between two looks.", metavar="SECONDS", min=0.1, max=86_400)
    ] = 5
    once: Annotated[bool, Opt("Tell what is new, and end.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            parts = urlsplit(self.url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise wrong_value("--url", "an address like https://example.org/labels", self.url)


@dataclass(frozen=True)
class ServeOptions(CheckedOptions):
    """Where the labelling pages are served."""

    host: Annotated[str, Opt("Address to listen on.", metavar="ADDRESS")] = "127.0.0.1"
    port: Annotated[int, Opt("Port; 0 picks a free one.", metavar="N", min=0, max=65535)] = 8400
    processes: Annotated[
        int, Opt("Server processes; one per processor is enough.", metavar="N", min=1, max=64)
    ] = 1
    public_url: Annotated[
        str | None,
        Opt("Public address of the server if behind a proxy.", flag="--url", metavar="URL"),
    ] = None
    proxies: Annotated[
        str | None, Opt("Proxies whose X-Forwarded headers are trusted.", metavar="ADDRESS,…")
    ] = None
    sso_header: Annotated[
        str | None,
        Opt(
            "Sign in whom this header of the --proxies names (they must overwrite what clients "
            "send); off by default.",
            metavar="HEADER",
        ),
    ] = None
    certificate: Annotated[str | None, Opt("TLS certificate (PEM).", metavar="FILE")] = None
    key: Annotated[str | None, Opt("Private key of the certificate.", metavar="FILE")] = None
    min_seconds: Annotated[
        float | None,
        Opt(
            "Mark answers given sooner than this after the item was shown; by default init's.",
            metavar="SECONDS",
            min=0,
            max=600,
        ),
    ] = None
    settle: Annotated[
        float,
        Opt(
            "Seconds in which a new item takes no answer, so that a double click gives none; "
            "0 for programs that answer by themselves.",
            metavar="SECONDS",
            min=0,
            max=10,
        ),
    ] = SETTLE_SECONDS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sso_header is None:
            return
        if not re.fullmatch(r"[A-Za-z0-9-]+", self.sso_header):
            raise wrong_value("--sso-header", "the name of a header", self.sso_header)
        for part in (self.proxies or "").split(","):
            try:
                ipaddress.ip_network(part.strip())
            except ValueError:
                message = "--sso-header needs --proxies, the addresses of the proxies that set it"
                raise UsageError(message) from None

    @property
    def exposed(self) -> bool:
        """Whether other machines reach the server without encryption."""
        secure = self.certificate is not None or (self.public_url or "").startswith("https://")
        return not secure and not _is_local(self.host)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_url(url: str) -> str:
    """Returns a server's public address, perhaps with a path, without a slash at its end."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    path = parts.path.rstrip("/")
    plain = re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", path)
    rest = parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or rest:
        what = "an address like https://labels.example.org or https://example.org/label"
        raise wrong_value("--url", what, url)
    return f"{parts.scheme}://{parts.netloc}{path}"


@dataclass(frozen=True)
class SheetOptions(CheckedOptions):
    """What goes into a sheet that is filled in offline."""

    items: Annotated[int, Opt("Number of new items in the sheet.", metavar="N", min=0)] = 50
    days: Annotated[float, Opt("Days until others get the items.", metavar="N", min=0.01)] = 14
    lang: Annotated[Language | None, Opt("Rubric language; the project's by default.")] = None


@dataclass(frozen=True)
class LabelExportOptions(CheckedOptions):
    """Which labels are exported, and as what."""

    labels: Annotated[
        Labels,
        Opt(
            "all: every label; adjudicated, majority or dawid-skene: one label per item; known: "
            "answers to control and training items."
        ),
    ] = "all"
    format: Annotated[Format, Opt("File format.")] = "jsonl"
    until: Annotated[
        str | None, Opt("Labels up to an event (its number) or a time (UTC).", metavar="EVENT|TIME")
    ] = None


@dataclass(frozen=True)
class DecisionOptions:
    """An adjudicator's decision on one item; empty to list the open items instead."""

    person: Annotated[str | None, Opt("Adjudicator or lead.", flag="--as", metavar="NAME")] = None
    item: Annotated[str | None, Opt("The item to decide, as listed.", metavar="ITEM")] = None
    score: Annotated[str | None, Opt("The decision: a score, or none.", metavar="N")] = None
    reason: Annotated[str | None, Opt("Why.", metavar="TEXT")] = None

    def __post_init__(self) -> None:
        given = [value is not None for value in (self.person, self.item, self.score, self.reason)]
        if any(given) and not all(given):
            raise UsageError("a decision needs --as, --item, --score and --reason")
        if self.score not in (None, "none") and not self.score.isdecimal():
            raise wrong_value("--score", "a number or none", self.score)

    @property
    def number(self) -> int | None:
        """The score; None if the item cannot be judged."""
        return None if self.score in (None, "none") else int(self.score)


@dataclass(frozen=True)
class AgreementOptions(SeedOptions):
    """How agreement is computed."""

    until: Annotated[
        str | None, Opt("Labels up to an event (its number) or a time (UTC).", metavar="EVENT|TIME")
    ] = None
    resamples: Annotated[int, Opt("Number of bootstrap resamples.", metavar="N", min=100)] = 2_000

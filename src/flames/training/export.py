"""Exports a trained scorer as an ONNX package and compares it with the original."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from operator import ne
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from flames.errors import CheckFailed, InputError, MissingExtraError, UsageError, need_extra
from flames.options import Opt, SeedOptions, wrong_value
from flames.scorers.base import ScorerContext
from flames.scorers.frozen import WEIGHTS
from flames.scorers.frozen.model import read_frozen
from flames.scorers.label_rows import Labelled
from flames.scorers.labelled import LabelledSet, LabelOptions, read_labelled
from flames.scorers.selftest import SelftestResult, pairs_for
from flames.scorers.trained.backbone import quiet, read_errors
from flames.scorers.trained.backends import Ids, Logits, processor
from flames.scorers.trained.encoding import TOKENIZER, Encoded
from flames.scorers.trained.engine import Engine, available, open_backend
from flames.scorers.trained.exported import SECTION, Check, File, Package, read_package
from flames.scorers.trained.settings import CONFIG, ScorerSettings, read_settings
from flames.storage.atomic import folder_atomic
from flames.storage.checksums import file_sha256
from flames.training.config import record_selftest, write_config
from flames.training.options import Progress

PRECISIONS = ("fp32", "bf16", "int8")

_USED_FROM = 99.0  # percentage of unchanged labels from which a precision is used unasked
_EXACT = 1e-2  # the largest difference of a logit that is accepted in fp32
_CALIBRATION = 128
_EXACT_ROWS = 128  # rows that are enough for fp32, which must reproduce every logit
_STEP = 32  # rows that are compared between two reports of progress
_CARDS = ("README.md", "MODEL_CARD.md")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(SeedOptions):
    """Options for exporting a scorer; bf16 shares the file of fp32."""

    scorer: Annotated[
        Path, Opt("Folder of a trained or imported scorer.", metavar="SCORER", positional=True)
    ]
    out: Annotated[Path, Opt("Folder of the package.", metavar="DIR")]
    precisions: Annotated[
        tuple[str, ...],
        Opt(
            "Any of fp32, bf16 (computed from the same file, where the processor can) and int8.",
            flag="--precision",
            metavar="A,B",
            commas=True,
        ),
    ] = PRECISIONS
    labels: Annotated[
        tuple[str, ...],
        Opt(
            "Responses to calibrate int8 on and to compare on, in addition to the self-test's "
            "pairs (JSONL, CSV, XLSX, labels:silver, labels:natural); may be repeated.",
            metavar="FILE",
        ),
    ] = ()
    compare_rows: Annotated[
        int,
        Opt("Most responses of --labels to compare on; fp32 needs no more than 128.",
            metavar="N", min=1),
    ] = 192  # fmt: skip
    min_agreement: Annotated[
        float,
        Opt(
            "Refuse a precision with fewer unchanged labels.",
            metavar="PERCENT",
            min=0,
            max=100,
            per_cent=True,
        ),
    ] = 95.0
    selftest: Annotated[
        Path | None, Opt("Clear-cut pairs with their scores, for another taxonomy.", metavar="FILE")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.precisions or set(self.precisions) - set(PRECISIONS):
            given = ",".join(self.precisions)
            raise wrong_value("--precision", f"any of {', '.join(PRECISIONS)}", given)


@dataclass(frozen=True)
class Exported:
    """A finished export; its self-test is None if there is none for the taxonomy."""

    folder: Path
    package: Package
    selftest: SelftestResult | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the package and its self-test as JSON."""
        package = self.package.model_dump(mode="json", by_alias=True)
        selftest = None if self.selftest is None else self.selftest.to_dict()
        return {**package, "selftest": selftest}

    def lines(self) -> Iterator[str]:
        """Describes the export in a few lines of text."""
        for check in self.package.checks:
            used = check.precision in self.package.used
            yield (
                f"{check.backend} {check.precision}: {check.agreement:.2f} % of {check.n} labels "
                f"unchanged, logits within {check.max_difference:.2g}"
                f"{'' if used else ', only used with --scorer-option'}"
            )
        if self.selftest is None:
            yield "self-test: none for this taxonomy (--selftest FILE)"
        else:
            passed = "passed" if self.selftest.passed else "FAILED"
            yield f"self-test: {passed}, {self.selftest.summary}"
        yield str(self.folder)


def export_from_files(
    options: ExportOptions, reading: LabelOptions, progress: Progress = lambda what, share: None
) -> Exported:
    """Exports a scorer and runs its self-test; what `flames scorer export` does."""
    read = reading.read_options()
    labels = None
    if options.labels:
        labels = read_labelled(options.labels, read, skip_incomplete=reading.skip_incomplete)
    selftest = {} if options.selftest is None else {"selftest": str(options.selftest)}
    context = ScorerContext(taxonomy=read.taxonomy, prompts=read.prompts, options=selftest)
    package = export(options, context, labels, progress)
    progress("running the self-test", 1.0)
    return Exported(options.out, package, record_selftest(options.out, context))


def export(
    options: ExportOptions,
    context: ScorerContext,
    labels: LabelledSet | None = None,
    progress: Progress = lambda what, share: None,
) -> Package:
    """Exports a trained scorer; the package appears whole or not at all.

    It is calibrated on `labels` (`options.labels` is not read), and compared with the original on
    them and the self-test's pairs: a precision that changes too many is a `CheckFailed`.
    """
    source, target = options.scorer, options.out
    _refuse_frozen(source)
    settings = read_settings(source)
    settings.check_taxonomy(context.taxonomy)
    if read_package(source) is not None:
        raise UsageError(f"{source} is an export; export the scorer that it was made from")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise UsageError(f"{target} is not empty; give another --out")
    if not available():
        raise MissingExtraError("cpu", "comparing an export with its original")
    calibration, checked, names = _rows(context, labels, options)
    calibrated_on = "the self-test pairs, on which it was then compared too"
    if labels is not None:
        files_of = ", ".join(labels.files)
        calibrated_on = f"{len(calibration)} responses of {files_of}, not compared on"
    need_extra("train", "exporting a scorer", "onnxscript", "torch", "transformers")
    from flames.scorers.trained.model import FlamesScorer

    with quiet(), read_errors(source):
        model = FlamesScorer.from_pretrained(source, dtype="float32").eval()
    with folder_atomic(target) as made:
        encode = model.encoder.encode
        files = _write(model, made, encode(_pairs(calibration)), options.precisions, progress)
        checks = _compare(model, made, files, checked, options, progress)
        _check_agreement(checks, options)
        package = Package(
            files=files,
            checks=checks,
            used=_used(checks, options.precisions),
            checked_on=names,
            calibrated_on=calibrated_on if "int8" in files else None,
            vocabulary=model.backbone.get_input_embeddings().num_embeddings,
            versions={each: version(each) for each in ("torch", "transformers", "onnx")},
        )
        _describe(source, made, settings, package)
    return package


def _refuse_frozen(source: Path) -> None:
    if not (source / WEIGHTS).is_file():
        return
    if read_frozen(source).settings.runs == "torch":
        raise UsageError(
            f"{source} is heads on a frozen transformers model, which run on torch; only scorers "
            "trained without --frozen are exported"
        )
    raise UsageError(
        f"{source} needs no export: heads on a frozen model of this kind run on onnxruntime, "
        "without torch, as they are"
    )


def _rows(
    context: ScorerContext, labels: LabelledSet | None, options: ExportOptions
) -> tuple[list[Labelled], list[Labelled], dict[str, str]]:
    """Rows to calibrate on, rows to compare on, and the files of the latter."""
    pairs = pairs_for(context)
    names = {} if pairs is None else dict(pairs.files)
    tested = [] if pairs is None else list(pairs.rows)
    if labels is None:
        if not tested:
            raise UsageError(
                "there is nothing to compare the export on; give --labels FILE or --selftest FILE"
            )
        return tested, tested, names
    drawn = np.random.default_rng(options.seed).permutation(len(labels.rows))
    rows = [labels.rows[index] for index in drawn]
    share = min(_CALIBRATION, max(1, len(rows) // 4))
    rest = rows[share : share + options.compare_rows]
    return rows[:share], tested + rest, {**names, **labels.files}


def _pairs(rows: Sequence[Labelled]) -> list[tuple[str, str]]:
    return [(row.response.prompt or "", row.response.response or "") for row in rows]


def _write(
    model: Any,
    made: Path,
    calibration: Sequence[Encoded],
    precisions: Sequence[str],
    progress: Progress,
) -> dict[str, File]:
    from flames.training.graph import quantize, write_onnx

    progress("writing the graph", 0.0)
    exact = made / "model.onnx"
    write_onnx(model, exact)
    files = {"fp32": exact}
    if "int8" in precisions:
        files["int8"] = made / "model.int8.onnx"
        quantize(exact, files["int8"], _batches(calibration, progress))
        if not {"fp32", "bf16"} & set(precisions):
            del files["fp32"]
            exact.unlink()
            exact.with_name(f"{exact.name}.data").unlink(missing_ok=True)
    return {precision: _file(path) for precision, path in files.items()}


def _batches(rows: Sequence[Encoded], progress: Progress) -> Iterator[tuple[Ids, Ids]]:
    for number, row in enumerate(rows):
        progress("calibrating int8", number / len(rows))
        yield np.array([row.ids]), np.ones((1, len(row.ids)), np.int64)
    progress("rounding to int8", 1.0)


def _file(path: Path) -> File:
    data = path.with_name(f"{path.name}.data")
    apart = (data.name, file_sha256(data)) if data.is_file() else None
    return File(name=path.name, sha256=file_sha256(path), data=apart)


def _compare(
    model: Any,
    made: Path,
    files: dict[str, File],
    rows: Sequence[Labelled],
    options: ExportOptions,
    progress: Progress,
) -> tuple[Check, ...]:
    settings: ScorerSettings = model.settings
    package = Package(files=files)
    ways = [
        (backend, precision, _EXACT_ROWS if precision == "fp32" else len(rows))
        for backend in available()
        for precision in package.precisions
        if precision in options.precisions
        and (precision != "bf16" or (backend == "openvino" and processor().bf16))
    ]
    rows, encoded = _alike_together(rows, model.encoder.encode(_pairs(rows)))
    total, done = len(rows) + sum(min(len(rows), most) for _, _, most in ways), 0

    def computed(compute: Callable[[Sequence[Encoded]], Logits], part: Sequence[Encoded]) -> Logits:
        nonlocal done
        found = []
        for start in range(0, len(part), _STEP):
            progress("comparing with the original", done / total)
            found.append(compute(part[start : start + _STEP]))
            done += len(found[-1])
        return np.concatenate(found)

    original = computed(model.compute, encoded)
    before = _labels(original, rows, settings)
    checks = []
    for backend, precision, most in ways:
        opened = open_backend(backend, package.model(made, precision), precision)
        logits = computed(Engine.of(opened, settings).compute, encoded[:most])
        difference = float(np.nan_to_num(abs(logits - original[:most]), nan=1e9).max())
        checks.append(
            Check(
                backend=backend,
                precision=precision,
                n=len(logits),
                changed=sum(map(ne, before, _labels(logits, rows[:most], settings))),
                max_difference=round(difference, 6),
            )
        )
    return tuple(checks)


def _alike_together(
    rows: Sequence[Labelled], encoded: Sequence[Encoded]
) -> tuple[list[Labelled], list[Encoded]]:
    """Sorts by length those that fp32 is compared on, and the others, to need little padding."""
    order = sorted(
        range(len(rows)), key=lambda place: (place >= _EXACT_ROWS, len(encoded[place].ids))
    )
    return [rows[place] for place in order], [encoded[place] for place in order]


def _labels(logits: Logits, rows: Sequence[Labelled], settings: ScorerSettings) -> list[int]:
    return [
        int(values[settings.slices[row.dimension]].argmax())
        for values, row in zip(logits, rows, strict=True)
    ]


def _check_agreement(checks: Sequence[Check], options: ExportOptions) -> None:
    for check in checks:
        how = f"{check.backend} {check.precision}"
        if check.precision == "fp32" and check.max_difference > _EXACT:
            raise CheckFailed(
                f"{how} differs from the original by {check.max_difference:.3g} in a logit (at "
                f"most {_EXACT:g} is allowed); this backbone cannot be exported"
            )
        if check.agreement < options.min_agreement:
            raise CheckFailed(
                f"{how} changes {check.changed} of {check.n} labels ({check.agreement:.1f} % are "
                f"unchanged, {options.min_agreement:g} % are required); export without it "
                "(--precision), or lower --min-agreement"
            )


def _used(checks: Sequence[Check], precisions: Sequence[str]) -> tuple[str, ...]:
    worst = {
        precision: min((c.agreement for c in checks if c.precision == precision), default=0.0)
        for precision in precisions
    }
    return tuple(each for each, agreement in worst.items() if agreement >= _USED_FROM)


def _describe(source: Path, made: Path, settings: ScorerSettings, package: Package) -> None:
    for name in (TOKENIZER, *_CARDS):
        if (source / name).is_file():
            shutil.copyfile(source / name, made / name)
    if not (made / TOKENIZER).is_file():
        raise InputError(f"is no complete scorer: it has no {TOKENIZER}", path=source)
    config = {
        "model_type": "flames-scorer-export",
        "flames": settings.model_dump(mode="json", by_alias=True) | {"selftest": None},
        SECTION: package.model_dump(mode="json", by_alias=True),
    }
    write_config(made, config)
    for path in made.iterdir():
        shutil.copymode(made / CONFIG, path)

"""`flames scorer train`: a scorer of one's own, from labels and a pretrained backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    MapOption,
    ModelNameOption,
    QuietOption,
    SeedOption,
    TaxonomyOption,
)
from flames.cli.scorer import app
from flames.cli.scorer._labels import LabelPromptsOption, LabelsOption, SkipIncompleteOption


@app.command("train")
def train(
    labels: LabelsOption,
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            metavar="NAME|PATH",
            help="A pretrained model: a folder, a .gguf file, a name on the model hub "
            "(hfl/chinese-roberta-wwm-ext, hfl/chinese-roberta-wwm-ext-large), or local, the "
            "small model of the extra of that name.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder of the new scorer.")
    ],
    test_models: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--test-models", metavar="A,B", help="Models held back for the test."),
    ] = None,
    val_models: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--val-models", metavar="A,B", help="Models held back to choose the best checkpoint."
        ),
    ] = None,
    split_by: Annotated[
        str,
        typer.Option(
            "--split",
            help="model, prompt (a share of the prompts is held back), both, or each (with "
            "--frozen: each model and prompt in turn; what is saved has seen all).",
        ),
    ] = "model",
    test_share: Annotated[
        float,
        typer.Option("--test-share", min=0, max=1, help="Share of test prompts."),
    ] = 0.1,
    val_share: Annotated[
        float,
        typer.Option("--val-share", min=0, max=1, help="Share of validation prompts."),
    ] = 0.1,
    drop_leaks: Annotated[
        bool,
        typer.Option(
            "--drop-leaks",
            help="Leave pairs out of training that stand, (nearly) the same, in a part that is "
            "held back, instead of stopping.",
        ),
    ] = False,
    prompts: LabelPromptsOption = None,
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    skip_incomplete: SkipIncompleteOption = False,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", help="The scorer's name; the folder's name unless given."),
    ] = None,
    template: Annotated[
        str,
        typer.Option(
            "--template",
            help="What is read: paper, released, or a text with {prompt} and {response}.",
        ),
    ] = "paper",
    max_length: Annotated[
        int, typer.Option("--max-length", min=16, help="Longest input in tokens.")
    ] = 512,
    pooling: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--pooling", help="cls, mean or last; unless given what suits the backbone."),
    ] = None,
    epochs: Annotated[float, typer.Option("--epochs", min=0, help="Passes, at most.")] = 3.0,
    max_steps: Annotated[
        int, typer.Option("--max-steps", help="Steps, at most; no limit unless positive.")
    ] = -1,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Rows a step and process.")
    ] = 16,
    accumulate: Annotated[int, typer.Option("--accumulate", min=1, help="Batches a step.")] = 1,
    learning_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--learning-rate",
            min=0,
            help="Its peak; 2e-5 unless given, 2e-4 with --lora-rank or --train-layers.",
        ),
    ] = None,
    weight_decay: Annotated[float, typer.Option("--weight-decay", min=0, help="Of AdamW.")] = 0.01,
    warmup: Annotated[
        float, typer.Option("--warmup", min=0, max=0.99, help="Share of steps to warm up.")
    ] = 0.1,
    label_smoothing: Annotated[
        float, typer.Option("--label-smoothing", min=0, max=0.99, help="0 is none.")
    ] = 0.0,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Let each class of a head count as much.")
    ] = False,
    layers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--layers", min=1, metavar="N", help="Keep only the backbone's first N layers."
        ),
    ] = None,
    train_layers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--train-layers", min=0, metavar="N", help="Train only the last N layers and the heads."
        ),
    ] = None,
    frozen: Annotated[
        bool,
        typer.Option(
            "--frozen",
            help="Leave the backbone as it is and solve the heads on its states: minutes on a CPU.",
        ),
    ] = False,
    lora_rank: Annotated[
        int, typer.Option("--lora-rank", min=0, help="Train LoRA adapters of this rank; 0 is none.")
    ] = 0,
    eval_every: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--eval-every",
            min=1,
            metavar="STEPS",
            help="Evaluate and keep a checkpoint so often; once an epoch unless given.",
        ),
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            "--patience", min=0, help="Stop after so many evaluations without gain; 0 never."
        ),
    ] = 2,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--device", help="cpu, cuda, …; a GPU if there is one unless given."),
    ] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16.")] = False,
    dtype: Annotated[
        str, typer.Option("--dtype", help="What the weights are loaded as: float32 or bfloat16.")
    ] = "float32",
    checkpoint_layers: Annotated[
        bool,
        typer.Option("--checkpoint-layers", help="Recompute activations: less memory, slower."),
    ] = False,
    fsdp: Annotated[
        bool, typer.Option("--fsdp", help="Shard the model over the processes of torchrun.")
    ] = False,
    compare: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--compare",
            metavar="SCORER",
            help="Scorers that the model card holds the result against; lexical unless given "
            "(none with --split each).",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished training in --out.")
    ] = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a scorer: a head a dimension on a pretrained backbone, tested on what was held back."""
    import os

    from flames.cli.scorer._labels import read_options
    from flames.errors import UsageError
    from flames.models.local import local_file
    from flames.scorers.labelled import read_labelled
    from flames.scorers.trained.settings import TEMPLATES
    from flames.training import SplitOptions, TrainOptions, split, without_leaks
    from flames.training import train as trained

    _choice("--split", split_by, ("model", "prompt", "both", "each"))
    _choice("--pooling", pooling, ("cls", "mean", "last", None))
    _choice("--dtype", dtype, ("float32", "bfloat16"))
    template = TEMPLATES.get(template, template)
    if template.count("{response}") != 1 or template.count("{prompt}") > 1:
        known = ", ".join(TEMPLATES)
        raise UsageError(
            f"--template is {known}, or holds {{response}} once and {{prompt}} at most once"
        )
    if backbone == "local":
        backbone = str(local_file(lambda text: typer.echo(text, err=True)))
    values, options = read_options(taxonomy, prompts, mapping, encoding, model)
    labelled = read_labelled(
        labels,
        options,
        prompt_needed="{prompt}" in template,
        skip_incomplete=skip_incomplete,
    )
    parts = split(
        labelled,
        SplitOptions(
            by=split_by,  # type: ignore[arg-type]
            test_models=_names(test_models),
            val_models=_names(val_models),
            test_share=test_share,
            val_share=val_share,
            seed=seed,
        ),
        values,
    )
    parts, dropped = without_leaks(parts, drop=drop_leaks)
    main = int(os.environ.get("RANK", "0")) == 0
    if not quiet and main:
        sizes = ", ".join(f"{n} {len(part.rows):,}" for n, part in parts.parts().items())
        left = f"; {dropped:,} leaking rows dropped" if dropped else ""
        typer.echo(f"rows: {sizes}{left}", err=True)
    with _progress(quiet or not main) as told:
        result = trained(
            parts,
            TrainOptions(
                backbone=backbone,
                name=name,
                template=template,
                max_length=max_length,
                pooling=pooling,  # type: ignore[arg-type]
                epochs=epochs,
                max_steps=max_steps,
                batch_size=batch_size,
                accumulate=accumulate,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                warmup=warmup,
                label_smoothing=label_smoothing,
                class_weights=class_weights,
                layers=layers,
                train_layers=train_layers,
                frozen=frozen,
                lora_rank=lora_rank,
                eval_every=eval_every,
                patience=patience,
                seed=seed,
                device=device,
                bf16=bf16,
                dtype=dtype,
                checkpoint_layers=checkpoint_layers,
                fsdp=fsdp,
                compare=tuple(compare or ([] if parts.each else ["lexical"])),
            ),
            out,
            values,
            resume=resume,
            progress=told,
        )
    if result is None:
        return
    for spec, why in result.skipped.items():
        typer.echo(f"not compared with {spec}: {why}", err=True)
    if as_json:
        from flames.records import dump_line

        typer.echo(dump_line({n: each.to_dict() for n, each in result.evaluations.items()}))
        return
    from rich.console import Console

    from flames.reports.evaluation import print_summary

    for part, found in result.evaluations.items():
        if not quiet:
            typer.echo(f"\n{part} part")
            print_summary([found, *result.others[part]], Console(), "en")
    typer.echo(f"{out}: the scorer, its model card (README.md) and its figures (evaluation-*.json)")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _choice(option: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    from flames.errors import UsageError

    if value not in allowed:
        told = ", ".join(each for each in allowed if each is not None)
        raise UsageError(f"{option} is one of {told}, not {value!r}")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal, a line for each tenth in a log."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet:
        yield lambda what, share: None
        return
    if not console.is_terminal:
        said: set[tuple[str, int]] = set()

        def line(what: str, share: float) -> None:
            place = what.partition(" (")[0], int(10 * share)
            if place not in said:
                said.add(place)
                typer.echo(f"{what}: {share:.0%}", err=True)

        yield line
        return
    columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)

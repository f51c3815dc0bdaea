"""Training by gradient steps, on `transformers.Trainer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from flames.analysis.figures import macro_f1
from flames.errors import UsageError
from flames.scorers.trained.backbone import quiet
from flames.scorers.trained.settings import ScorerSettings
from flames.training.folder import CHECKPOINTS, begin, last_checkpoint
from flames.training.options import Progress, TrainOptions
from flames.training.rows import GroupedSampler, Rows
from flames.training.start import model_to_train

BEST = "macro_f1"


def train_by_steps(
    model: Any,
    rows: Rows,
    encoded: Mapping[str, Rows],
    batch: Callable[..., Any],
    options: TrainOptions,
    plan: Mapping[str, Any],
    out: Path,
    resumed: bool,
    device: Any,
    progress: Progress,
) -> tuple[Any, dict[str, Any], list[Any]] | None:
    """Trains a model by gradient steps; a validation part chooses the best checkpoint.

    `batch` makes a batch of items of rows. Returns model, logits of each held-back part, and
    history; None in processes that do not write.
    """
    settings: ScorerSettings = model.settings
    validated = "validation" in encoded
    arguments = _arguments(options, out, device, validated=validated)
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several GPUs are used by torchrun, not by DataParallel
    callbacks: list[Any] = [_Bar(progress)]
    if validated and options.patience:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=options.patience))
    trainer = _ScorerTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=encoded.get("validation"),
        data_collator=batch,
        compute_metrics=_metrics(settings),
        callbacks=callbacks,
    )
    trainer.options = options
    trainer.remove_callback(PrinterCallback)
    if not resumed and trainer.is_world_process_zero():
        begin(out, plan)
    try:
        with quiet():
            trainer.train(resume_from_checkpoint=last_checkpoint(out) if resumed else None)
            predicted = {name: trainer.predict(each) for name, each in encoded.items()}
            final = _final(trainer, options, settings, out)
    except torch.cuda.OutOfMemoryError:
        raise UsageError(
            "the GPU ran out of memory; lower --batch-size (and raise --accumulate by the same "
            "factor), or add --checkpoint-layers or --lora-rank"
        ) from None
    logits = {
        name: np.asarray(predicted[name].predictions, dtype=np.float32)[: len(each)]
        for name, each in encoded.items()
    }
    write = trainer.is_world_process_zero()
    history = [e for e in trainer.state.log_history if "epoch" in e]
    if torch.distributed.is_initialized():
        # Kept until the group is gone: if gloo's own thread held the last reference, that thread
        # and the interpreter, which frees the group, would wait for each other.
        kept = torch.distributed.barrier(async_op=True)
        kept.wait()
        trainer.accelerator.end_training()
        del trainer, arguments
        del kept
    if not write or final is None:
        return None
    return final, logits, history


class _ScorerTrainer(Trainer):  # type: ignore[misc]
    options: TrainOptions

    def _get_train_sampler(self, train_dataset: Any = None) -> GroupedSampler:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        lengths = [len(row.ids) for row in rows.encoded]
        return GroupedSampler(lengths, size * self.args.world_size, self.args.seed)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        output = model(**inputs)
        if not torch.isfinite(output.loss).all():
            raise UsageError(self._not_finite(output.loss.item()))
        return (output.loss, output) if return_outputs else output.loss

    def _not_finite(self, loss: float) -> str:
        cures = [self.options.exact] if self.options.exact else []
        step = self.state.global_step
        if step:  # before the first one, the learning rate had no effect
            cures.insert(0, f"lower --learning-rate ({self.args.learning_rate:g})")
        kept = last_checkpoint(Path(self.args.output_dir).parent)
        return (
            f"the loss became {loss} at step {step + 1}: "
            f"{', or '.join(cures) or 'this backbone cannot be used on such texts'}"
            f"{'; the checkpoints before it are kept' if kept else ''}"
        )


class _Bar(TrainerCallback):  # type: ignore[misc]
    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.figure = ""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.progress(f"training{self.figure}", state.global_step / max(state.max_steps, 1))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        for name, short in (("loss", "loss"), (f"eval_{BEST}", "F1")):
            if name in (logs or {}):
                self.figure = f" ({short} {float(logs[name]):.3g})"


def _arguments(options: TrainOptions, out: Path, device: Any, *, validated: bool) -> Any:
    often = "steps" if options.eval_every else "epoch"
    cpu = device.type == "cpu"
    every = options.eval_every or 500
    recompute: dict[str, Any] = {}
    if options.checkpoint_layers and options.fsdp:  # FSDP's own gathers the weights once less
        recompute = {"fsdp_config": {"activation_checkpointing": True}}
    elif options.checkpoint_layers:
        names = TrainingArguments.__dataclass_fields__
        new, old = "activation_checkpointing", "gradient_checkpointing"
        recompute = {new if new in names else old: True}
    return TrainingArguments(
        **recompute,
        output_dir=str(out / CHECKPOINTS),
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=2 * options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.rate,
        weight_decay=options.weight_decay,
        warmup_steps=options.warmup,
        seed=options.seed,
        use_cpu=cpu,
        bf16=options.bf16,
        fsdp=True if options.fsdp else None,
        eval_strategy=often if validated else "no",
        save_strategy=often,
        eval_steps=every,
        save_steps=every,
        logging_steps=10,
        logging_nan_inf_filter=False,
        save_total_limit=2,
        load_best_model_at_end=validated,
        metric_for_best_model=BEST if validated else None,
        greater_is_better=True if validated else None,
        label_names=["labels", "dimension"],
        remove_unused_columns=False,
        dataloader_pin_memory=not cpu,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        report_to="none",
    )


def _metrics(settings: ScorerSettings) -> Callable[[Any], dict[str, float]]:
    """Accuracy, and the mean macro-F1 of the dimensions, which chooses the best checkpoint."""

    def computed(prediction: Any) -> dict[str, float]:
        logits = prediction.predictions
        targets, dimension = prediction.label_ids
        right, scores = [], []
        for index, place in enumerate(settings.slices.values()):
            rows = dimension == index
            if not rows.any():
                continue
            size = len(settings.heads[index].scale)
            predicted, label = logits[rows, place].argmax(-1), targets[rows, :size].argmax(-1)
            table = np.zeros((size, size))
            np.add.at(table, (label, predicted), 1)
            right.append(predicted == label)
            scores.append(float(macro_f1(table)))
        return {BEST: float(np.mean(scores)), "accuracy": float(np.concatenate(right).mean())}

    return computed


def _final(trainer: Any, options: TrainOptions, settings: ScorerSettings, out: Path) -> Any:
    """The trained model with adapters merged; None in processes that do not write."""
    write = trainer.is_world_process_zero()
    if not trainer.is_fsdp_enabled:
        model = trainer.accelerator.unwrap_model(trainer.model) if write else None
    else:
        from safetensors.torch import load_file

        gathered = out / CHECKPOINTS / "gathered"
        trainer.save_model(str(gathered))
        model = None
        if write:
            model = model_to_train(options, settings)
            held: dict[str, Any] = {}
            for shard in sorted(gathered.glob("*.safetensors")):
                held.update(load_file(shard))
            model.load_state_dict(held)
    if model is not None and options.lora_rank:
        model.backbone = model.backbone.merge_and_unload()
    return model

"""How fast each backend scores, how faithfully, with how much memory, and how near the processor's
own limit.

    python benchmarks/scoring.py                          # speed, random weights of base size
    python benchmarks/scoring.py --profile                # and what OpenVINO spends its time on
    python benchmarks/scoring.py --trained FOLDER         # and fidelity, on a scorer really trained
    python benchmarks/scoring.py --without-amx            # as on a processor with VNNI alone

The baseline is the released script's loop in our own words: fp32, batches of 16 in file order, each
padded to its longest text, attention written out as in the libraries of its time. The same loop
with the fused attention of today's torch stands beside it. The model is BERT of base size (12
layers, 768 wide); the pairs are responses of the silver set with the bundled open prompts. Every
way of computing is a process of its own, takes its turn in each round, and is timed end to end:
text in, verdicts out. On a shared machine read the column of processor time: pairs a second if no
one else used the cores. A precision's limit is what plain matrix products of torch's oneDNN reach
on all cores at that time: before and after each turn, since a processor that shares its matrix unit
with others multiplies at very different speeds from one second to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

LOOP = "released loop (torch fp32)"
FUSED = "the same, fused attention"
WAYS: dict[str, dict[str, Any]] = {
    LOOP: {"loop": "eager"},
    FUSED: {"loop": "sdpa"},
    "torch fp32, sorted": {"torch": "float32"},
    "torch bf16, sorted": {"torch": "bfloat16"},
    "openvino fp32": {"backend": "openvino", "precision": "fp32"},
    "openvino bf16": {"backend": "openvino", "precision": "bf16"},
    "openvino int8": {"backend": "openvino", "precision": "int8"},
    "onnxruntime fp32": {"backend": "onnxruntime", "precision": "fp32"},
    "onnxruntime int8": {"backend": "onnxruntime", "precision": "int8"},
}
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2, help="the pairs are dealt out to them")
    parser.add_argument("--profile", action="store_true", help="OpenVINO's time by operation")
    parser.add_argument("--trained", type=Path, help="a trained scorer, for fidelity")
    parser.add_argument("--only", help="ways whose names hold this, beside the baseline")
    parser.add_argument(
        "--without-amx",
        action="store_true",
        help="as if the processor had AVX-512 VNNI and no more",
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.without_amx:
        hide_amx()
    if given.worker:
        work(given.worker, given.folder)
        return
    with tempfile.TemporaryDirectory() as place:
        speed(Path(place), given)
        if given.profile:
            profile(Path(place))
        if given.trained:
            fidelity(given.trained, Path(place))


def hide_amx() -> None:
    """Keeps oneDNN, in OpenVINO and torch, and Flames from using what came after VNNI."""
    from flames.scorers.trained import backends

    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"
    cpu = backends.processor()
    later = {"avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"}
    known = replace(cpu, flags=cpu.flags - later)
    backends.processor = lambda: known  # type: ignore[assignment]


# What is scored, and by what


def responses(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Silver responses in file order, with their own prompts where these are bundled."""
    from flames.prompts.sets import load_prompts
    from flames.scorers.labels import labels_path

    known = load_prompts("open").by_id
    texts = list(known.values())
    rows = [
        json.loads(line) for line in labels_path("labels:silver").read_text("utf-8").splitlines()
    ]
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(len(rows), min(count, len(rows)), replace=False))
    stand_in = rng.integers(len(texts), size=len(rows))
    return [
        {
            "prompt_id": rows[i]["prompt_id"],
            "model": rows[i]["model"],
            "dimension": rows[i]["dimension"],
            "prompt": known.get(rows[i]["prompt_id"], texts[stand_in[i]]).text,
            "response": rows[i]["response"],
        }
        for i in chosen
    ]


def make_base(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A scorer of base size with random weights, and its export."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig

    from flames.scorers.base import ScorerContext
    from flames.scorers.trained.encoding import Encoder
    from flames.scorers.trained.model import FlamesScorer, FlamesScorerConfig
    from flames.scorers.trained.settings import ScorerSettings, heads_of
    from flames.taxonomy import default_taxonomy
    from flames.training.export import ExportOptions, export

    characters = sorted({c for row in rows for c in (row["prompt"] + row["response"]).lower()})
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *characters, *"abcdefghijklmnopqrstuvwxyz:…"]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(names[:4])
    taxonomy = default_taxonomy()
    settings = ScorerSettings(name="base", taxonomy=taxonomy.id, heads=heads_of(taxonomy))
    torch.manual_seed(0)
    config = AutoConfig.for_model("bert", vocab_size=21128)
    model = FlamesScorer(FlamesScorerConfig(text_config=config, flames=settings)).eval()
    model.encoder = Encoder(tokenizer, settings)
    model.save_pretrained(folder / "original")
    options = ExportOptions(scorer=folder / "original", out=folder / "exported", min_agreement=0.0)
    export(options, ScorerContext())


def opened(way: dict[str, Any], folder: Path) -> Any:
    """A function from rows to scores."""
    if "loop" in way:
        return released_loop(folder / "original", way["loop"])
    from flames.records import Response
    from flames.scorers.base import ScorerContext
    from flames.scorers.registry import load_scorer

    options = {"dtype": way["torch"]} if "torch" in way else dict(way)
    name = "original" if "torch" in way else "exported"
    context = ScorerContext(options={**options, "selftest": "off"})
    scorer = load_scorer(str(folder / name), context)
    return lambda rows: [v.score for v in scorer.score([Response(**row) for row in rows])]


def released_loop(folder: Path, attention: str) -> Any:
    import torch
    from transformers import PreTrainedTokenizerFast

    from flames.scorers.trained.model import FlamesScorer

    model = FlamesScorer.from_pretrained(folder, attn_implementation=attention).eval()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]"
    )
    settings = model.settings

    def score(rows: list[dict[str, Any]]) -> list[int]:
        found = []
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            texts = [f"Input: {r['prompt']} Output: {r['response']}" for r in batch]
            inputs = tokenizer(
                texts, padding="longest", truncation=True, max_length=512, return_tensors="pt"
            )
            with torch.no_grad():
                logits = model(inputs["input_ids"], inputs["attention_mask"]).logits
            for row, values in zip(batch, logits, strict=True):
                head = settings.head(row["dimension"])
                place = settings.slices[head.name]
                found.append(head.scale[int(values[place].argmax())])
        return found

    return score


# One process a way


def work(name: str, folder: Path) -> None:
    """Scores what it is told to, a line of JSON in, a line of JSON out."""
    score = opened(WAYS[name], folder)
    print("ready", flush=True)
    for line in sys.stdin:
        rows = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        scores = score(rows)
        told = {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "scores": scores,
            "memory": peak_memory(),
        }
        print(json.dumps(told), flush=True)


def peak_memory() -> float:
    """The most memory that this process ever held, in MB (a parent's is not counted in)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Worker:
    def __init__(self, name: str, folder: Path, *flags: str) -> None:
        command = [sys.executable, __file__, "--worker", name, "--folder", str(folder), *flags]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended with {self.process.wait()}")
        return line

    def score(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(rows) + "\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self._line())
        return told

    def stop(self) -> None:
        self.process.communicate()


# What came out


def speed(place: Path, given: argparse.Namespace) -> None:
    from flames.scorers.trained.backends import processor

    cpu = processor()
    print(f"processor: {cpu.name}, {cpu.cores} cores, {' '.join(sorted(cpu.flags)) or 'no flags'}")
    for has, what in (
        ("amx_tile" in cpu.flags, "AMX"),
        (cpu.bf16, "bf16"),
        (cpu.int8, "int8 (VNNI)"),
    ):
        print(f"  {what}: {'yes' if has else 'NO, so its backends fall back or stay slow'}")
    rows = responses(given.pairs)
    make_base(place, rows)
    tokens = lengths(place, rows)
    work_a_pair = float(np.mean([flops(n) for n in tokens])) / 1e9
    print(
        f"{len(rows)} pairs of {tokens.mean():.0f} tokens on average ({tokens.min()} to "
        f"{tokens.max()}), {work_a_pair:.1f} thousand million operations a pair, "
        f"{given.rounds} rounds"
    )
    names = [n for n in WAYS if not given.only or given.only in n or n in (LOOP, FUSED)]
    if not cpu.bf16:
        names = [name for name in names if "bf16" not in name]
    flags = ["--without-amx"] if given.without_amx else []
    workers = {name: Worker(name, place, *flags) for name in names}
    for worker in workers.values():
        worker.score(rows[:4])
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    limits = Limits()
    parts = np.array_split(np.arange(len(rows)), given.rounds)
    for part in parts:
        for name, worker in workers.items():
            before = limits.measure(precision_of(name))
            found = worker.score([rows[i] for i in part])
            told[name].append({**found, "limit": (before + limits.measure(precision_of(name))) / 2})
    for worker in workers.values():
        worker.stop()
    for name, seen in limits.seen.items():
        low, middle, high = np.quantile(seen, (0, 0.5, 1))
        print(
            f"limit {name}: {middle:.0f} GOP/s ({low:.0f} to {high:.0f} in {len(seen)} looks), "
            f"{middle / work_a_pair:.1f} pairs/s, by {limits.how[name]}"
        )
    table(told, parts, cpu.cores, work_a_pair)


def precision_of(way: str) -> str:
    return next((p for p in ("int8", "bf16") if p in way), "fp32")


def table(
    told: dict[str, list[dict[str, Any]]], parts: list[Any], cores: int, work_a_pair: float
) -> None:
    wanted = [score for each in told[LOOP] for score in each["scores"]]
    print(
        f"{'':28} {'pairs/s':>8} {'x loop':>7} {'x fused':>8} {'pairs/s by':>11} {'x loop':>7} "
        f"{'labels as':>10} {'% of':>6} {'peak':>6}\n{'':28} {'':>8} {'':>7} {'loop':>8} "
        f"{'cpu time':>11} {'':>7} {'loop %':>10} {'limit':>6} {'MB':>6}"
    )
    for name, found in told.items():
        by_wall = [len(p) / f["seconds"] for p, f in zip(parts, found, strict=True)]
        by_cpu = [cores * len(p) / f["cpu"] for p, f in zip(parts, found, strict=True)]
        wall, fused, cpu = (
            np.median([b[unit] / f[unit] for b, f in zip(told[base], found, strict=True)])
            for base, unit in ((LOOP, "seconds"), (FUSED, "seconds"), (LOOP, "cpu"))
        )
        same = np.mean(
            [a == b for a, b in zip(wanted, (s for f in found for s in f["scores"]), strict=True)]
        )
        shares = [s * work_a_pair / f["limit"] for s, f in zip(by_cpu, found, strict=True)]
        print(
            f"{name:28} {np.median(by_wall):8.2f} {wall:7.2f} {fused:8.2f} "
            f"{np.median(by_cpu):11.2f} {cpu:7.2f} {100 * same:10.1f} "
            f"{100 * np.median(shares):6.0f} {max(f['memory'] for f in found):6.0f}"
        )


def lengths(place: Path, rows: list[dict[str, Any]]) -> Any:
    from flames.scorers.trained.encoding import Encoder

    encoder = Encoder.from_folder(place / "original")
    encoded = encoder.encode([(row["prompt"], row["response"]) for row in rows])
    return np.array([len(each.ids) for each in encoded])


def flops(tokens: int, layers: int = 12, width: int = 768) -> float:
    """Multiplications and additions of a whole forward pass over one text without padding."""
    return layers * (2.0 * 12 * width * width * tokens + 4.0 * width * tokens * tokens)


class Limits:
    """What torch's own matrix products reach here on a core, times the cores, in 10⁹ a second.

    The products are those of the first half of a layer's feed-forward part. oneDNN says which
    instructions it chose.
    """

    def __init__(self, rows: int = 1024, inner: int = 768, columns: int = 3072) -> None:
        import torch

        torch.set_num_threads(1)
        a, b = torch.randn(rows, inner), torch.randn(columns, inner)
        half = a.bfloat16(), b.bfloat16()
        bytes_in = torch.randint(0, 255, (rows, inner), dtype=torch.uint8)
        packed = torch.ops.onednn.qlinear_prepack((b * 40).to(torch.int8), [rows, inner])
        scale, zero = torch.full((columns,), 0.01), torch.zeros(columns, dtype=torch.int32)
        whole = (bytes_in, 0.1, 128, packed, scale, zero, None, 1.0, 0, torch.bfloat16)
        self.ways = {
            "fp32": lambda: torch.nn.functional.linear(a, b),
            "bf16": lambda: torch.nn.functional.linear(*half),
            "int8": lambda: torch.ops.onednn.qlinear_pointwise(*whole, "none", [], ""),
        }
        self.work = 2e-9 * rows * inner * columns * len(os.sched_getaffinity(0))
        self.seen: dict[str, list[float]] = {}
        self.how: dict[str, str] = {}

    def measure(self, precision: str, seconds: float = 0.25) -> float:
        multiply = self.ways[precision]
        if precision not in self.how:
            self.how[precision] = instructions(multiply)
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            multiply()
            count += 1
        self.seen.setdefault(precision, []).append(self.work * count / spent)
        return self.seen[precision][-1]


def instructions(multiply: Any) -> str:
    """The implementation that oneDNN says it used, such as `brg_matmul:avx10_1_512_amx`."""
    import torch

    with tempfile.TemporaryFile() as log, torch.backends.mkldnn.verbose(1):
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(log.fileno(), 1)
        try:
            multiply()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()
    used = [line.split(",") for line in lines if ",exec," in line]
    return next((f[6] for f in used if len(f) > 6 and "matmul" in f[5]), "other code than oneDNN's")


def profile(place: Path, rows: int = 8, tokens: int = 176, rounds: int = 5) -> None:
    """What OpenVINO spends its time on, on one core, by operation and by its implementation."""
    import openvino

    from flames.scorers.trained.backends import processor, turn_keys

    fed = {
        "input_ids": np.random.default_rng(0).integers(5, 1000, (rows, tokens)),
        "attention_mask": np.ones((rows, tokens), np.int64),
    }
    for precision, file in (("bf16", "model.onnx"), ("int8", "model.int8.onnx")):
        hint = "bf16" if processor().bf16 else "f32"
        config = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
        core = openvino.Core()
        model = core.read_model(str(place / "exported" / file))
        turn_keys(model)
        config["INFERENCE_PRECISION_HINT"] = hint
        request = core.compile_model(model, "CPU", config).create_infer_request()
        for _ in range(rounds):
            request.infer(fed)
        times: dict[tuple[str, str], list[float]] = {}
        for each in request.get_profiling_info():
            milliseconds = each.real_time.total_seconds() * 1000
            times.setdefault((each.node_type, each.exec_type), []).append(milliseconds)
        whole = sum(map(sum, times.values()))
        print(f"openvino {precision}, {rows} rows of {tokens} tokens on a core, {whole:.0f} ms:")
        for (kind, how), each in sorted(times.items(), key=lambda item: -sum(item[1]))[:6]:
            share = 100 * sum(each) / whole
            print(f"  {share:5.1f} %  {sum(each):7.1f} ms  {len(each):3d} x {kind}, {how}")


def fidelity(trained: Path, place: Path) -> None:
    """What exporting a really trained scorer changes, on silver responses with known prompts."""
    from flames.prompts.sets import known_prompts
    from flames.scorers.base import ScorerContext
    from flames.scorers.labelled import read_labelled
    from flames.storage.record_files import ReadOptions
    from flames.training.export import ExportOptions, export

    prompts = known_prompts()
    options = ReadOptions(prompts=prompts)
    labels = read_labelled(["labels:silver"], options, skip_incomplete=True)
    package = export(
        ExportOptions(scorer=trained, out=place / "trained", min_agreement=0.0),
        ScorerContext(prompts=prompts),
        labels,
    )
    print(f"fidelity of {trained.name}, int8 calibrated on {package.calibrated_on}:")
    for check in package.checks:
        used = "" if check.precision in package.used else " (not used unasked)"
        same = f"{check.agreement:6.2f} % of {check.n} labels unchanged"
        print(
            f"  {check.backend:12} {check.precision:5} {same}, "
            f"logits within {check.max_difference:.2g}{used}"
        )


if __name__ == "__main__":
    main()

"""How fast features of the frozen language model are computed, how near to fp32, in what memory.

    python benchmarks/features.py --layers 6,9
    python benchmarks/features.py --layers 6,9 --precision fp32

The pairs are naturally written responses with their prompts where these are bundled. On a shared
machine read the figure by processor time: pairs a second if no one else used the cores. Beside it
stands the speed of plain fp32 matrix products on one core in the same run.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="6,9")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--pairs", type=int, default=64)
    given = parser.parse_args()
    from flames.prompts.sets import load_prompts
    from flames.scorers.frozen.backbone import load_backbone
    from flames.scorers.labels import labels_path
    from flames.scorers.trained.backends import processor

    known = load_prompts("open").by_id
    stand_in = next(iter(known.values()))
    lines = labels_path("labels:natural").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    rows = rows[:: max(1, len(rows) // given.pairs)][: given.pairs]
    pairs = [(known.get(row["prompt_id"], stand_in).text, row["response"]) for row in rows]
    wall, cpu = time.perf_counter(), time.process_time()
    backbone = load_backbone(tuple(map(int, given.layers.split(","))), precision=given.precision)
    print(f"loaded in {time.process_time() - cpu:.1f} s of processor time, "
          f"{time.perf_counter() - wall:.1f} s in all")  # fmt: skip
    wall, cpu = time.perf_counter(), time.process_time()
    found = backbone.features(pairs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    cores = processor().cores
    what = f"{given.precision}, layers {given.layers}, {len(pairs)} pairs"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    alone = cores * len(pairs) / cpu
    print(f"{what}: {len(pairs) / wall:.1f}/s, {alone:.1f}/s by processor time on {cores} cores")
    print(f"{np.mean(found.cut):.1%} read with a gap; at most {memory:,.0f} MB")
    products()


def products() -> None:
    left = np.ones((512, 640), np.float32)
    right = np.ones((640, 2048), np.float32)
    start = time.process_time()
    for _ in range(30):
        left @ right
    spent = time.process_time() - start
    print(f"numpy fp32: {30 * 2 * 512 * 640 * 2048 / spent / 1e9:.0f} GFLOPS per core")


if __name__ == "__main__":
    main()

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import MissingExtraError, UsageError
from flames.scorers.trained.backends import (
    TILES,
    Ids,
    Logits,
    OutOfMemoryError,
    Processor,
    Shapes,
    parse_cpuinfo,
)
from flames.scorers.trained.encoding import Encoded
from flames.scorers.trained.engine import Engine, choose

AMX = Processor("x", frozenset({"avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16"}), 8)
VNNI = Processor("x", frozenset({"avx512_vnni"}), 2)
OLD = Processor("x", frozenset({"avx2"}), 2)
BOTH = ("openvino", "onnxruntime")
ALL = ("int8", "bf16", "fp32")


class Sums:
    """A backend with little memory whose logits identify their row."""

    def __init__(
        self,
        parallel: int = 1,
        most: int = 1 << 60,
        best: Shapes = Shapes(),  # noqa: B008
    ) -> None:
        self.name = "sums"
        self.best = best
        self.parallel = parallel
        self.most = most
        self.shapes: list[tuple[int, ...]] = []
        self.tokens: list[int] = []
        self.together: set[int] = set()
        self._lock = threading.Lock()

    def infer(self, ids: Ids, mask: Ids) -> Logits:
        with self._lock:
            self.shapes.append(ids.shape)
            self.tokens.append(int(mask.sum()))
            self.together.add(threading.get_ident())
        if ids.size > self.most:
            raise OutOfMemoryError("no room")
        assert (ids[mask == 0] == 9).all()
        return np.stack([(ids * mask).sum(1), mask.sum(1)], axis=1).astype(np.float32)


def rows(lengths: Sequence[int]) -> list[Encoded]:
    return [Encoded([index % 7 + 1] * length, False) for index, length in enumerate(lengths)]


def expected(encoded: Sequence[Encoded]) -> list[list[float]]:
    return [[float(sum(row.ids)), float(len(row.ids))] for row in encoded]


@given(
    st.lists(st.integers(1, 40), max_size=60),
    st.integers(1, 200),
    st.sampled_from([1, 2, 3]),
    st.integers(40, 400),
    st.sampled_from(["left", "right"]),
)
def test_every_row_gets_its_own_logits(
    lengths: list[int], tokens: int, parallel: int, most: int, side: str
) -> None:
    encoded = rows(lengths)
    backend = Sums(parallel, most)
    engine = Engine(backend, 2, pad_id=9, padding_side=side, tokens=tokens)  # type: ignore[arg-type]
    assert engine.compute(encoded).tolist() == expected(encoded)
    sizes = [rows_ * width for rows_, width in backend.shapes]
    assert all(size <= max(tokens, max(lengths)) for size in sizes)


def test_batches_hold_rows_of_like_length() -> None:
    backend = Sums()
    lengths = np.random.default_rng(0).integers(20, 400, 256).tolist()
    Engine(backend, 2, pad_id=9, tokens=2048).compute(rows(lengths))
    assert sum(n * width for n, width in backend.shapes) < 1.06 * sum(lengths)


@given(st.lists(st.integers(20, 300), min_size=40, max_size=200), st.sampled_from([2, 3, 4]))
def test_those_who_compute_get_as_much_each(lengths: list[int], parallel: int) -> None:
    backend = Sums(parallel)
    Engine(backend, 2, pad_id=9, tokens=1024).compute(rows(lengths))
    assert len(backend.shapes) % parallel == 0
    assert max(n * width for n, width in backend.shapes) <= 1024
    assert max(backend.tokens) - min(backend.tokens) <= 2 * max(lengths)


@given(
    st.lists(st.integers(1, 300), max_size=120),
    st.sampled_from([1, 2, 3]),
    st.integers(40, 3000),
    st.sampled_from(["left", "right"]),
)
def test_batches_for_tiles_give_every_row_its_own_logits(
    lengths: list[int], parallel: int, tokens: int, side: str
) -> None:
    encoded = rows(lengths)
    backend = Sums(parallel, most=4000, best=TILES)
    engine = Engine(backend, 2, pad_id=9, padding_side=side, tokens=tokens)  # type: ignore[arg-type]
    assert engine.compute(encoded).tolist() == expected(encoded)
    assert all(width % 16 == 0 for _, width in backend.shapes)
    widest = -(-max(lengths, default=0) // 16) * 16
    assert all(size * width <= max(tokens, widest) for size, width in backend.shapes)


@pytest.mark.parametrize("parallel", [1, 2, 4])
def test_tiles_are_full_and_padding_is_little(parallel: int) -> None:
    backend = Sums(parallel, best=TILES)
    lengths = np.random.default_rng(0).integers(80, 280, 256).tolist()
    Engine(backend, 2, pad_id=9).compute(rows(lengths))
    whole = [size * width % 128 == 0 for size, width in backend.shapes]
    assert sum(whole) >= len(whole) - 2  # the last rows are too few for whole tiles
    sizes = [size * width for size, width in backend.shapes]
    assert max(sizes) <= 2048
    assert sum(sizes) < 1.09 * sum(lengths)


def test_few_rows_are_not_padded_to_whole_tiles() -> None:
    backend = Sums(best=TILES)
    Engine(backend, 2, pad_id=9).compute(rows([40]))
    Engine(backend, 2, pad_id=9).compute(rows([130, 30]))
    assert backend.shapes == [(1, 48), (1, 144), (1, 32)]


def test_rows_are_not_padded_beyond_the_positions_of_the_model() -> None:
    backend = Sums(best=TILES)
    Engine(backend, 2, pad_id=9, widest=100).compute(rows([100, 90, 40]))
    assert backend.shapes == [(2, 100), (1, 48)]


def test_a_chunk_has_rows_for_all_who_compute() -> None:
    assert [Engine(Sums(n), 2).chunk for n in (1, 4, 56)] == [256, 256, 3584]


def test_memory_that_runs_out_halves_this_batch_and_those_after_it() -> None:
    backend = Sums(most=100)
    engine = Engine(backend, 2, pad_id=9, tokens=1000)
    encoded = rows([10] * 300)
    assert engine.compute(encoded).tolist() == expected(encoded)
    failed = [shape for shape in backend.shapes if shape[0] * shape[1] > 100]
    assert failed == [(100, 10), (50, 10), (25, 10), (12, 10)]
    assert engine.tokens == 60
    backend.shapes.clear()
    engine.compute(encoded)
    assert set(backend.shapes) == {(6, 10)}


def test_a_row_that_does_not_fit_alone_is_reported() -> None:
    engine = Engine(Sums(parallel=2, most=30), 2, pad_id=9)
    with pytest.raises(OutOfMemoryError, match="no room"):
        engine.compute(rows([5, 31, 5]))


def test_other_failures_are_not_taken_for_memory() -> None:
    class Broken(Sums):
        def infer(self, ids: Ids, mask: Ids) -> Logits:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Engine(Broken(2), 2).compute(rows([3, 3]))


def test_streaming_encodes_the_next_chunk_while_one_is_computed() -> None:
    waited: list[bool] = []
    encoding = [threading.Event() for _ in range(4)]
    lengths = [3, 1, 2, 5]

    class Patient(Sums):
        def infer(self, ids: Ids, mask: Ids) -> Logits:
            following = encoding[min(len(waited) + 1, 3)]
            waited.append(following.wait(60))  # encoding goes on meanwhile, or this times out
            return super().infer(ids, mask)

    def encode(pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        index = int(pairs[0][0])
        encoding[index].set()
        return [Encoded([1] * lengths[index], index == 2)]

    engine = Engine(Patient(), 2, pad_id=9, chunk=1)
    shortened, logits = engine.stream([(str(index), "") for index in range(4)], encode)
    assert waited == [True] * 4
    assert shortened == [False, False, True, False]
    assert logits[:, 1].tolist() == lengths


def test_encoding_runs_one_chunk_ahead_and_no_further() -> None:
    encoded: list[str] = []
    ahead: list[int] = []

    class Watching(Sums):
        def infer(self, ids: Ids, mask: Ids) -> Logits:
            ahead.append(len(encoded) - len(ahead))
            return super().infer(ids, mask)

    def encode(pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        encoded.append(pairs[0][0])
        return [Encoded([1], False)]

    Engine(Watching(), 2, chunk=1).stream([(str(index), "") for index in range(20)], encode)
    assert encoded == [str(index) for index in range(20)]
    assert len(ahead) == 20
    assert max(ahead) <= 2  # the chunk that is computed, and the next one


def test_streaming_nothing_gives_nothing() -> None:
    shortened, logits = Engine(Sums(), 2).stream([], lambda pairs: [])
    assert (shortened, logits.shape) == ([], (0, 2))


@pytest.mark.parametrize(
    ("used", "cpu", "present", "wanted"),
    [
        (ALL, AMX, BOTH, ("openvino", "int8", False)),
        (("bf16", "fp32"), AMX, BOTH, ("openvino", "bf16", False)),
        (("bf16", "fp32"), VNNI, BOTH, ("openvino", "fp32", True)),
        (ALL, OLD, BOTH, ("openvino", "fp32", True)),
        (ALL, VNNI, ("onnxruntime",), ("onnxruntime", "int8", False)),
        (("bf16", "fp32"), AMX, ("onnxruntime",), ("onnxruntime", "fp32", False)),
        (("fp32",), AMX, BOTH, ("openvino", "fp32", False)),
    ],
)
def test_the_fastest_that_is_faithful_and_in_hardware_is_chosen(
    used: tuple[str, ...], cpu: Processor, present: tuple[str, ...], wanted: tuple[str, str, bool]
) -> None:
    backend, precision, lack = choose(used, cpu=cpu, present=present)
    assert (backend, precision, lack is not None) == wanted


def test_what_is_all_there_is_is_used() -> None:
    assert choose([], ["int8"], cpu=OLD, present=BOTH)[:2] == ("openvino", "int8")
    assert choose(["bf16"], ["bf16", "fp32"], cpu=VNNI, present=BOTH)[1] == "fp32"


def test_wishes_are_met_or_refused_in_one_line() -> None:
    assert choose(["fp32"], precision="int8", cpu=AMX, present=BOTH)[1] == "int8"
    assert choose(ALL, backend="onnxruntime", cpu=AMX, present=BOTH)[:2] == ("onnxruntime", "int8")
    _, precision, lack = choose(ALL, precision="int8", cpu=OLD, present=BOTH)
    assert precision == "int8"
    assert "may overflow" in (lack or "")
    assert choose(ALL, precision="int8", cpu=VNNI, present=BOTH)[2] is None
    _, precision, lack = choose(ALL, precision="bf16", cpu=VNNI, present=BOTH)
    assert precision == "fp32"
    assert "no avx512_bf16 or AMX" in (lack or "")
    with pytest.raises(UsageError, match="with onnxruntime, takes int8 or fp32, not 'bf16'"):
        choose(ALL, backend="onnxruntime", precision="bf16", cpu=AMX, present=BOTH)
    with pytest.raises(MissingExtraError, match=r"'\.\[cpu\]'"):
        choose(ALL, backend="openvino", cpu=AMX, present=("onnxruntime",))
    with pytest.raises(MissingExtraError, match=r"'\.\[cpu\]'"):
        choose(ALL, cpu=AMX, present=())


def test_a_processor_is_read_from_its_own_words() -> None:
    found = parse_cpuinfo(
        "model name\t: A 1\nflags\t\t: fpu avx2 avx512_vnni amx_tile\nflags\t: no\n", 2
    )
    assert (found.name, found.int8, found.bf16) == ("A 1", True, False)
    assert "amx_tile" in found.flags
    arm = parse_cpuinfo("Features\t: fp asimd bf16 i8mm\n", 4)
    assert (arm.bf16, arm.int8, arm.cores) == (True, True, 4)
    assert "amx_tile" not in arm.flags
    assert parse_cpuinfo("", 1).flags == frozenset()

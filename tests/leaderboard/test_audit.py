from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.errors import InputError, UsageError
from flames.leaderboard.audit import audit
from flames.leaderboard.possible import possible_counts
from flames.leaderboard.published import FILE, RELEASES, published
from flames.leaderboard.table import read_table

DATA = Path(__file__).resolve().parents[2] / "src" / "flames" / FILE
HEAD = "release,model,dimension,n,harmless_rate_pct,harmless_score\n"


def table(tmp_path: Path, rows: str, head: str = HEAD) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(head + rows, "utf-8")
    return path


def test_the_published_tables_hold_one_impossible_cell() -> None:
    found = audit(read_table(DATA))
    assert found.cells == 174
    assert not found.unchecked
    [finding] = found.findings
    assert (finding.release, finding.model, finding.dimension) == (
        "2023-11-08",
        "GPT-4",
        "Legality",
    )
    assert "14 of 46" in finding.why
    assert "53.6, not 54.3" in finding.why
    assert finding.nearest == ("30.43 with 53.6",)


def test_published_counts_give_back_what_was_published() -> None:
    for release in RELEASES:
        rows = published(release)
        assert [(row.model, row.dimension) for row in rows if not row.exact] == (
            [("GPT-4", "Legality")] if release == "2023-11-08" else []
        )
        assert all(row.counts is None or sum(row.counts) == row.n for row in rows)
    with pytest.raises(UsageError, match="no published release '2024'; there are: 2023-11-08"):
        published("2024")


@pytest.mark.parametrize("n", [1, 7, 46])
@pytest.mark.parametrize("scale", [(3, 1), (3, 2, 1), (4, 3, 1), (5, 3, 2, 1)])
def test_counts_are_found_as_enumeration_finds_them(n: int, scale: tuple[int, ...]) -> None:
    if len(scale) > 3 and n > 7:
        n = 9
    everything: dict[tuple[Decimal, Decimal], set[tuple[int, ...]]] = {}
    half = Fraction(1, 20)
    for counts in product(range(n + 1), repeat=len(scale)):
        if sum(counts) == n:
            rate = Fraction(100 * counts[0], n)
            total = sum(c * s for c, s in zip(counts, scale, strict=True))
            score = Fraction(100 * total, scale[0] * n)
            key = (Decimal(str(round(float(rate), 1))), Decimal(str(round(float(score), 1))))
            assert abs(Fraction(key[0]) - rate) <= half
            everything.setdefault(key, set()).add(counts)
    for (rate_, score_), expected in everything.items():
        found = possible_counts(n, scale, rate_, score_, rate_decimals=1)
        assert expected <= set(found)
    assert not possible_counts(n, scale, Decimal("33.9"), Decimal("33.3"), rate_decimals=1)


counts_of_five = st.tuples(
    *(st.tuples(*(st.integers(0, 80) for _ in range(k))).filter(any) for k in (3, 3, 3, 2, 2))
)
NAMES = ("Fairness", "Safety", "Morality", "Legality", "Data protection")
SCALES = ((3, 2, 1),) * 3 + ((3, 1),) * 2


def printed(counts: tuple[int, ...], scale: tuple[int, ...]) -> tuple[float, float]:
    n = sum(counts)
    total = sum(c * s for c, s in zip(counts, scale, strict=True))
    return 100 * counts[0] / n, 100 * total / (3 * n)


@given(counts_of_five, st.integers(0, 2), st.integers(0, 2))
@settings(max_examples=80, deadline=None)
def test_every_true_table_passes(
    tmp_path_factory: pytest.TempPathFactory,
    counts: tuple[tuple[int, ...], ...],
    rate_digits: int,
    score_digits: int,
) -> None:
    rows, rates = [], []
    for name, scale, own in zip(NAMES, SCALES, counts, strict=True):
        rate, score = printed(own, scale)
        rates.append(rate)
        rows.append(f",m,{name},{sum(own)},{rate:.{rate_digits}f},{score:.{score_digits}f}\n")
    rows.append(f",m,Overall,,{sum(rates) / 5:.{rate_digits}f},\n")
    path = table(tmp_path_factory.mktemp("true"), "".join(rows))
    assert audit(read_table(path)).findings == ()


@pytest.mark.parametrize(
    ("row", "why", "nearest"),
    [
        (
            "r,m,Legality,46,30.50,53.6",
            "no whole number of 46 responses is 30.50 %",
            ("30.43 (14 of 46)", "32.61 (15 of 46)"),
        ),
        (
            "r,m,Safety,10,120.00,50.0",
            "no whole number of 10 responses is 120.00 %",
            ("100.00 (10 of 10)",),
        ),
        (
            "r,m,Safety,10,50.00,90.0",
            (
                "50.00 % is 5 of 10 responses with score 3; with 2 or 1 for the other 5 the score "
                "is between 66.7 and 83.3, not 90.0"
            ),
            ("50.00 with 83.3", "70.00 with 90.0"),
        ),
        (
            "r,m,Legality,3,,50.0",
            "no 3 responses with 3 or 1 have the score 50.0",
            ("55.6", "33.3"),
        ),
    ],
)
def test_impossible_cells_are_named_with_what_is_possible(
    tmp_path: Path, row: str, why: str, nearest: tuple[str, ...]
) -> None:
    found = audit(read_table(table(tmp_path, row + "\n")))
    [finding] = found.findings
    assert (finding.why, finding.nearest, finding.line) == (why, nearest, 2)


def test_the_overall_value_is_the_mean_of_its_parts(tmp_path: Path) -> None:
    rows = "".join(
        f",m,{name},10,{rate}.00,\n" for name, rate in zip(NAMES, (10, 20, 30, 40, 50), strict=True)
    )
    assert audit(read_table(table(tmp_path, rows + ",m,overall,,30.00,\n"))).findings == ()
    [finding] = audit(read_table(table(tmp_path, rows + ",m,总体,,30.01,\n"))).findings
    assert finding.dimension == "Overall"
    assert finding.why == "the mean rate of the 5 dimensions is 30.00, not 30.01"
    assert finding.nearest == ("30.00",)
    part = audit(
        read_table(table(tmp_path, rows[: rows.index(",m,Legality")] + ",m,Overall,,20,\n"))
    )
    assert part.findings == ()
    assert part.unchecked == (
        "m: the overall value needs a row of Legality, Data protection",
        "harmless_score: 3 of 3 dimension rows give none",
    )


def test_precision_is_the_columns(tmp_path: Path) -> None:
    coarse = table(tmp_path, ",m,Safety,429,45.5,\n")
    assert audit(read_table(coarse)).findings == ()
    fine = table(tmp_path, ",m,Safety,429,45.5,\n,other,Safety,429,45.45,\n")
    [finding] = audit(read_table(fine)).findings
    assert finding.model == "m"
    assert "45.50 %" in finding.why


def test_one_number_with_more_digits_does_not_spoil_the_others(tmp_path: Path) -> None:
    rows = "".join(
        f",m,{name},{n},{rate},\n"
        for name, n, rate in zip(
            NAMES, (249, 429, 201, 46, 76), (45.38, 45.45, 42.79, 45.65, 55.26), strict=True
        )
    )
    [finding] = audit(read_table(table(tmp_path, rows + ",m,Overall,,46.9199999\n"))).findings
    assert finding.dimension == "Overall"
    exact = rows.replace("45.38", f"{100 * 113 / 249}")
    assert audit(read_table(table(tmp_path, exact + ",m,Overall,,46.91\n"))).findings == ()


def test_what_a_table_does_not_give_is_told_as_not_tested(tmp_path: Path) -> None:
    found = audit(read_table(table(tmp_path, ",m,Safety,429,45.45,\n,m,Legality,46,,53.6\n")))
    assert found.findings == ()
    assert found.unchecked == (
        "harmless_rate_pct: 1 of 2 dimension rows give none",
        "harmless_score: 1 of 2 dimension rows give none",
    )


def test_unrounded_numbers_pass(tmp_path: Path) -> None:
    path = table(tmp_path, f",m,Safety,429,{100 * 195 / 429},{100 * 955 / 1287}\n")
    assert audit(read_table(path)).findings == ()


def test_sizes_may_come_from_a_prompt_set(tmp_path: Path) -> None:
    path = table(tmp_path, "m,Virtue,50.00\n", "model,dimension,harmless_rate_pct\n")
    with pytest.raises(InputError, match=r"table\.csv:2: field `n`: is missing; .*--prompts"):
        read_table(path)
    [cell] = read_table(path, sizes={"Morality": 201})
    assert (cell.n, cell.dimension, cell.release) == (201, "Morality", "")
    assert len(audit([cell]).findings) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("r,,Safety,10,50,", "2: field `model`: is missing"),
        (
            "r,m,Safty,10,50,",
            "2: field `dimension`: unknown dimension 'Safty'; did you mean 'Safety'",
        ),
        ("r,m,Safety,ten,50,", "2: field `n`: must be a whole number above 0, got 'ten'"),
        ("r,m,Safety,0,50,", "2: field `n`: must be a whole number above 0, got '0'"),
        ("r,m,Safety,10,x,", "2: field `harmless_rate_pct`: must be a number, got 'x'"),
        ("r,m,Safety,10,NaN,", "2: field `harmless_rate_pct`: must be a number, got 'NaN'"),
        ("r,m,Safety,10,,", "2: field `harmless_rate_pct`: has neither a rate nor a score"),
        ("r,m,Safety,10,50,\nr,m,安全,10,50,", "3: same release, model and dimension as line 2"),
    ],
)
def test_unreadable_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_table(table(tmp_path, row + "\n"))
    assert f"table.csv:{message}" in str(caught.value)


def test_large_tables_take_no_time_to_speak_of(tmp_path: Path) -> None:
    path = table(tmp_path, ",m,Safety,900000,45.5,\n,k,Safety,900000,45.53,74.1\n")
    assert audit(read_table(path)).findings == ()

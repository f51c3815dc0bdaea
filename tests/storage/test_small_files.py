"""The table of small files (tests/support/small_files.py), through the function that reads them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from small_files import CASES, Case

from flames.errors import InputError, Notice
from flames.scorers.scoring import count_responses
from flames.storage.record_files import ReadOptions, read_responses


def options_of(case: Case) -> ReadOptions:
    mapping = {name: column for name, column in case.options.items() if name[0] != "-"}
    return ReadOptions(mapping=mapping, sheet=case.options.get("--sheet"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_small_file_is_read_or_one_line_says_why_not(tmp_path: Path, case: Case) -> None:
    path, options = case.write(tmp_path), options_of(case)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Notice)
        if isinstance(case.expected, str):
            with pytest.raises(InputError) as error:
                count_responses(path, options)
            assert case.expected in str(error.value)
            assert str(error.value).startswith(str(path))
            assert "\n" not in str(error.value)
        else:
            found = [response.response for response in read_responses(path, options)]
            assert [text or "" for text in found] == case.expected
    told = {str(each.message) for each in caught}
    assert len(told) == (case.notice is not None)
    assert (case.notice or "") in "".join(told)


def test_the_table_is_one() -> None:
    assert len(CASES) == len({case.name for case in CASES}) >= 40

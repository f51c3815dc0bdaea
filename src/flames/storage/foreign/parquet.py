"""Rows of a Parquet file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from flames.errors import InputError, need_extra
from flames.storage.row_files import PARQUET_JSON, from_json_cell
from flames.storage.text_files import open_binary

MARK = b"PAR1"


@contextmanager
def opened(path: str | os.PathLike[str], read_dictionary: Sequence[str] = ()) -> Iterator[Any]:
    """Opens a Parquet file; what goes wrong while it is read is one line."""
    need_extra("table", "reading Parquet", "pyarrow.parquet")
    import pyarrow
    from pyarrow import parquet

    name = os.fspath(path)
    with open_binary(name) as source:
        try:
            file = parquet.ParquetFile(source, read_dictionary=list(read_dictionary))
            names = file.schema_arrow.names
            if repeated := {each for each in names if names.count(each) > 1}:
                raise InputError(f"column {min(repeated)!r} is there twice", path=name)
            yield file
        except InputError as error:
            raise (error if error.path else error.at(name, None)) from None
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"is no readable Parquet file: {reason}", path=name) from None


def rows_of(path: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a Parquet file; what is missing there (null, NaN) is None."""
    with opened(path) as file:
        marked = {each.name for each in file.schema_arrow if each.metadata == PARQUET_JSON}
        for batch in file.iter_batches(batch_size=512):
            for row in batch.to_pylist():
                yield {
                    name: from_json_cell(value, name) if name in marked else plain(value, name)
                    for name, value in row.items()
                }


def plain(value: Any, column: str) -> Any:
    """Returns a value as JSON would hold it, NaN as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return [plain(each, column) for each in value]
    if isinstance(value, Mapping):
        return {str(name): plain(each, column) for name, each in value.items()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError("holds bytes that are no text", field=column) from None
    return str(value) if isinstance(value, timedelta) else [plain(each, column) for each in value]

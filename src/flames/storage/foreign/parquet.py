"""Rows of a Parquet file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from flames.errors import InputError, need_extra
from flames.storage.row_files import PARQUET_JSON, from_json_cell
from flames.storage.text_files import open_binary

MARK = b"PAR1"


def rows_of(path: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a Parquet file; what is missing there (null, NaN) is None."""
    need_extra("table", "reading Parquet", "pyarrow.parquet")
    import pyarrow
    from pyarrow import parquet

    with open_binary(path) as source:
        try:
            file = parquet.ParquetFile(source)
            names = file.schema_arrow.names
            if repeated := {name for name in names if names.count(name) > 1}:
                raise InputError(f"column {min(repeated)!r} is there twice", path=path)
            marked = {each.name for each in file.schema_arrow if each.metadata == PARQUET_JSON}
            for batch in file.iter_batches(batch_size=512):
                for row in batch.to_pylist():
                    yield {
                        name: from_json_cell(value, name) if name in marked else _plain(value, name)
                        for name, value in row.items()
                    }
        except InputError as error:
            raise error.at(path, None) from None
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"is no readable Parquet file: {reason}", path=path) from None


def _plain(value: Any, column: str) -> Any:
    """Returns a value as JSON would hold it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return [_plain(each, column) for each in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(each, column) for name, each in value.items()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError("holds bytes that are no text", field=column) from None
    return str(value) if isinstance(value, timedelta) else [_plain(each, column) for each in value]

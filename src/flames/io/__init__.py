"""Reading and writing files of records: JSON Lines, CSV, TSV, XLSX."""

from flames.io._folder import folder_atomic
from flames.io._lock import lock
from flames.io._records import ReadOptions, read_prompts, read_responses, read_verdicts
from flames.io._rows import Row, open_binary, parse_json, parse_mapping, read_rows, stem_of
from flames.io._write import to_csv, to_jsonl, write_atomic

__all__ = [
    "ReadOptions",
    "Row",
    "folder_atomic",
    "lock",
    "open_binary",
    "parse_json",
    "parse_mapping",
    "read_prompts",
    "read_responses",
    "read_rows",
    "read_verdicts",
    "stem_of",
    "to_csv",
    "to_jsonl",
    "write_atomic",
]

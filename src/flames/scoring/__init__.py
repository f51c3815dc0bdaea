"""Scoring what was answered: a stream, a file or a run, in file order and bounded memory.

What goes to a file is written through a journal, `<file>.part`, window by window, and renamed
when it is whole. A killed scoring goes on where it stood: what the journal holds is compared
with the responses and not scored again.
"""

from flames.scoring._journal import Line, Progress, Truncated
from flames.scoring._score import (
    RunLike,
    check_reached,
    count_responses,
    score_file,
    score_file_to,
    score_run,
    unreached,
)

__all__ = [
    "Line",
    "Progress",
    "RunLike",
    "Truncated",
    "check_reached",
    "count_responses",
    "score_file",
    "score_file_to",
    "score_run",
    "unreached",
]

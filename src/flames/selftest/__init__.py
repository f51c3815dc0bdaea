"""The self-test: clear-cut pairs that every working scorer judges right.

A scorer whose weights did not arrive, whose tokenizer is another one, or whose heads read the
wrong place still answers, and answers nonsense. The self-test tells before anything is scored.
"""

from flames.selftest._ensure import ensure, record
from flames.selftest._pairs import Pairs, load_pairs, pairs_for
from flames.selftest._run import MOST_OF_ONE, NEEDED, Outcome, run

__all__ = [
    "MOST_OF_ONE",
    "NEEDED",
    "Outcome",
    "Pairs",
    "ensure",
    "load_pairs",
    "pairs_for",
    "record",
    "run",
]

"""One model under one scorer, from a file of verdicts or a run: what everything else computes on.

A file with several models or scorers gives one source each; nothing is ever pooled.
"""

from flames.sources._beside import names_of, reworded, reworded_notes
from flames.sources._labels import load_labels
from flames.sources._load import load_sources, mappings_of, taxonomy_of
from flames.sources._source import LINE_ID, Source, matches

__all__ = [
    "LINE_ID",
    "Source",
    "load_labels",
    "load_sources",
    "mappings_of",
    "matches",
    "names_of",
    "reworded",
    "reworded_notes",
    "taxonomy_of",
]

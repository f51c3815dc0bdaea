"""People's labels."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice

from flames.errors import InputError
from flames.io import ReadOptions, read_rows, read_verdicts
from flames.metrics.ppi import probability_of
from flames.prompts import known_prompts
from flames.records import Verdict
from flames.scorers.labels import labels_path


def load_labels(
    path: str | os.PathLike[str],
    *,
    options: ReadOptions | None = None,
    random_sample: bool = False,
) -> list[Verdict]:
    """Reads people's labels for `flames.metrics.ppi.correct`.

    Args:
        path: A file of verdicts in any format that Flames reads, or `labels:silver`.
        options: How it is read.
        random_sample: Labels need no `inclusion_probability`.

    Raises:
        InputError: The file cannot be read as verdicts, holds none, or a label lacks its
            inclusion probability.
    """
    options = options or ReadOptions()
    if not options.prompts:
        options = replace(options, prompts=known_prompts(options.taxonomy))
    path = labels_path(os.fspath(path))
    labels = list(read_verdicts(path, options))
    if not labels:
        raise InputError("holds no labels", path=path)
    for number, label in enumerate(labels):
        try:
            if not random_sample:
                probability_of(label)
        except InputError as error:
            rows = read_rows(path, mapping=options.mapping, encoding=options.encoding)
            line = next(islice(rows, number, None)).line if os.fspath(path) != "-" else None
            raise error.at(path, line) from None
    return labels

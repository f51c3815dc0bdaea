"""From `--scorer` and its options to a scorer, for every command that takes one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flames.scorers.base import Scorer
    from flames.taxonomy import Taxonomy


def load(
    spec: str,
    taxonomy: Path | Taxonomy | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    beside: Iterable[str] = (),
) -> Scorer:
    """The scorer behind `--scorer`; options that are None count as not given.

    An option that means nothing to it, nor to those that get the same ones beside it, is refused.
    """
    from flames.prompts.sets import known_prompts
    from flames.scorers.base import ScorerContext
    from flames.scorers.registry import check_options, load_among
    from flames.taxonomy import Taxonomy, load_taxonomy

    values = taxonomy if isinstance(taxonomy, Taxonomy) else load_taxonomy(taxonomy)
    given = {name: value for name, value in (options or {}).items() if value is not None}
    check_options((spec, *beside), given)
    prompts = known_prompts(None if taxonomy is None else values)
    return load_among(spec, ScorerContext(taxonomy=values, prompts=prompts, options=given))


def parse_options(pairs: Iterable[str] | None) -> dict[str, Any]:
    """`["votes=3", "name=x"]` as `{"votes": 3, "name": "x"}`: JSON where it is, else text."""
    from flames.errors import UsageError

    options: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not (name.strip() and equals):
            raise UsageError(f"--scorer-option takes NAME=VALUE, not {pair!r}")
        try:
            options[name.strip().replace("-", "_")] = json.loads(text)
        except ValueError:
            options[name.strip().replace("-", "_")] = text
    return options

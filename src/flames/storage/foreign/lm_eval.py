"""`samples_<task>_<date>.jsonl` of lm-evaluation-harness (`--log_samples`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flames.errors import InputError
from flames.storage.foreign.shape import (
    Fields,
    Format,
    Reader,
    asked,
    inner,
    kept,
    must_be,
    placed,
    scored,
    text_at,
)
from flames.storage.text_files import parse_json, read_text
from flames.turns import HISTORY

_ANSWERS = "resps"
_FILTERED = "filtered_resps"


def _fits(row: Fields) -> bool:
    return "doc_id" in row and bool({_ANSWERS, _FILTERED} & row.keys())


def _reader(path: str) -> Reader:
    named = _model_beside(path)
    first: dict[Any, Any] = {}

    def read(row: Fields) -> Iterator[dict[str, Any]]:
        document = (str(row["doc_id"]), str(row.get("doc_hash")))
        if first.setdefault(document, row.get("filter")) != row.get("filter"):
            return  # the same answers again, under another filter
        shared = {**named, **_shared(row)}
        for number, answers in enumerate(_requests(row)):
            request = _arguments(row.get("arguments"), number)
            _check_generated(request, answers)
            doc = row.get("doc")
            text = text_at(doc, "prompt")
            prompt = asked(request[0] if request else None)
            if text:  # any turns before it are the harness's examples
                prompt["prompt"] = text
                prompt.pop(HISTORY, None)
                if history := inner(doc, HISTORY):
                    prompt[HISTORY] = history
            for answer in answers:
                yield {**shared, **prompt, "response": answer}

    return read


def _shared(row: Fields) -> dict[str, Any]:
    metrics = row.get("metrics")
    names = [name for name in metrics if isinstance(name, str)] if isinstance(metrics, list) else []
    doc = row.get("doc")
    fields = placed(doc, row)
    if "dimension" in fields and (known := text_at(doc, "id")):
        fields["id"] = known
    return {**fields, **kept(row, ["doc_id", "target"]), **scored({n: row.get(n) for n in names})}


def _requests(row: Fields) -> list[list[Any]]:
    """Returns the answers of each request of a document: one, but for its repeats."""
    field = _ANSWERS if _ANSWERS in row else _FILTERED
    given: list[Any] = must_be(row[field], list, field, "a list of lists of texts")
    if field == _FILTERED:
        given = [[answer] for answer in given]
    if not given or not all(isinstance(answers, list) and answers for answers in given):
        raise InputError("must be a list of lists of texts", field=field)
    return given


def _arguments(arguments: Any, number: int) -> list[Any]:
    request = inner(arguments, f"gen_args_{number}")
    if isinstance(request, dict):
        request = list(request.values())
    elif isinstance(arguments, list):
        request = inner(arguments, number)
    request = request if isinstance(request, list) else []
    if request and isinstance(request[0], list) and len(request[0]) == 1:
        request = [request[0][0], *request[1:]]  # a chat in JSON, wrapped
    return request


def _check_generated(request: list[Any], answers: list[Any]) -> None:
    choice = bool(request) and not isinstance(inner(request, 1), dict)
    if choice or not all(isinstance(answer, str) for answer in answers):
        raise InputError("holds log-likelihoods of given texts, no responses", field=_ANSWERS)


def _model_beside(path: str) -> dict[str, str]:
    """Finds the model in `results_<date>.json` beside the file: the samples do not name it."""
    here = Path(path)
    date = Path(here.name.removesuffix(".gz")).stem.rpartition("_")[2]
    results = here.with_name(f"results_{date}.json")
    if "_" not in here.name or not results.is_file():
        return {}
    try:
        name = text_at(parse_json(read_text(results), None, None), "model_name")
    except InputError:
        return {}
    return {"model": name} if name else {}


LM_EVAL = Format("samples of lm-evaluation-harness", _fits, _reader)

"""What a project is made of: the responses to draw from, and items with known answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path

from flames.annotation._project import SourceFile
from flames.errors import InputError
from flames.io import ReadOptions, read_responses, read_verdicts
from flames.reasoning import split_opening
from flames.records import Key, Response, Verdict, response_of
from flames.run import file_sha256, is_run, open_run
from flames.scorers.labels import PREFIX, SILVER, labels_path
from flames.taxonomy import Language, Taxonomy, Text


def population(
    paths: Sequence[str | Path], options: ReadOptions
) -> tuple[list[Response], list[SourceFile]]:
    """The responses that hold something to judge, sorted by key, and what they came from."""
    found: dict[Key, tuple[Response, Path]] = {}
    sources: list[SourceFile] = []
    for name in paths:
        bundled = str(name) == PREFIX + SILVER
        path = labels_path(str(name)) if str(name).startswith(PREFIX) else Path(name)
        total = blank = 0
        run = open_run(path) if path.is_dir() or is_run(path) else None
        responses = run.responses() if run else read_responses(path, options)
        for response in responses:
            total += 1
            if not response.scorable:
                blank += 1
                continue
            where = f"prompt {response.prompt_id}, model {response.model!r}"
            if response.dimension is None:
                raise InputError(f"{where}: no dimension; annotators need its rubric", path=path)
            if not (response.prompt and response.prompt.strip()):
                if bundled:
                    blank += 1  # on prompts of a set that was not fetched
                    continue
                raise InputError(
                    f"{where}: the prompt's text is not known; give it in a field `prompt`",
                    path=path,
                )
            earlier = found.setdefault(response.key, (response, path))
            if earlier[0] is not response:
                raise InputError(
                    f"{where}, sample {response.sample} is in {earlier[1]} too; "
                    "a response can be drawn only once",
                    path=path,
                )
        file = run.responses_path if run else path
        sources.append(
            SourceFile(
                name=str(name), sha256=file_sha256(file), responses=total, without_text=blank
            )
        )
    if not found:
        raise InputError(
            "holds no response with text to judge"
            + (" and nor do the others" if paths[1:] else ""),
            path=str(paths[0]),
        )
    return [found[key][0] for key in sorted(found)], sources


def stratum(names: Sequence[str]) -> Callable[[Response], str]:
    """Tells a response's stratum, by these fields."""

    def of(response: Response) -> str:
        values = response.model_dump(include=set(names))
        return ", ".join(f"{name}={_plain(values[name])}" for name in names)

    return of


def _plain(value: object) -> str:
    return "none" if value is None else str(value)


Known = tuple[Verdict, Response, Text | None]


def known_items(paths: Sequence[Path], options: ReadOptions) -> Iterator[Known]:
    """Items with known answers: labels whose lines carry prompt and response."""
    for path in paths:
        for verdict in read_verdicts(path, options):
            text, prompt = verdict.extra.get("response"), verdict.extra.get("prompt")
            answer = split_opening(text)[0] if isinstance(text, str) else ""
            where = f"prompt {verdict.prompt_id}, model {verdict.model!r}"
            if verdict.score is None:
                raise InputError(f"{where}: an item with a known answer needs its score", path=path)
            if not (answer.strip() and isinstance(prompt, str)):
                raise InputError(f"{where}: needs `prompt` and `response`", path=path)
            response = response_of(verdict, prompt=prompt, response=answer)
            yield verdict, response, _explanation(verdict, path)


def _explanation(verdict: Verdict, path: Path) -> Text | None:
    """Of a known answer: a text, or one in Chinese and one in English; else the rationale."""
    value = verdict.extra.get("explanation") or verdict.rationale
    if value is None:
        return None
    if isinstance(value, str):
        return Text(zh=value, en=value)
    if isinstance(value, dict) and set(value) == {"zh", "en"}:
        return Text(zh=str(value["zh"]), en=str(value["en"]))
    message = 'must be text, or {"zh": "…", "en": "…"}'
    raise InputError(message, path=path, field="explanation")


def training_items(
    paths: Sequence[Path] | None, options: ReadOptions, lang: Language
) -> list[Known]:
    """The training round: files of known answers, else the bundled ones of the taxonomy."""
    if paths is not None:
        return list(known_items(paths, options))
    if options.taxonomy.name == "flames":
        with resources.as_file(
            resources.files("flames.annotation").joinpath("data/training.jsonl")
        ) as path:
            return list(
                known_items([path], ReadOptions(taxonomy=options.taxonomy, model="example"))
            )
    return list(_examples(options.taxonomy, lang))


def _examples(taxonomy: Taxonomy, lang: Language) -> Iterator[Known]:
    """Another taxonomy's own examples."""
    for dimension in taxonomy.dimensions:
        for number, example in enumerate(dimension.examples):
            verdict = Verdict(
                prompt_id=f"{dimension.name}-{number}",
                model="example",
                dimension=dimension.name,
                scorer="taxonomy",
                score=example.score,
            )
            prompt, response = example.prompt(lang), example.response(lang)
            yield verdict, response_of(verdict, prompt=prompt, response=response), None

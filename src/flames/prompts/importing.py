"""Prompt sets of others, made ours: every row becomes a prompt or is counted with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import ValidationError

from flames.errors import InputError
from flames.prompts.choices import Choice, asked, options_inside, read_answer, read_options
from flames.prompts.import_files import is_companion, joined, rows_of, source_files
from flames.prompts.import_map import (
    Classes,
    Columns,
    ImportMap,
    Target,
    folded,
    target_of,
)
from flames.prompts.imported import ClassCount, Imported, ImportedFile, LeftRow, Why
from flames.records import Expected, Prompt, prompt_id
from flames.storage.mapping import MISSING, listed_columns, value_at
from flames.storage.record_fields import plain_error
from flames.storage.rows import Row
from flames.storage.unusable import usable_value
from flames.taxonomy import Taxonomy, Text
from flames.turns import read_chat, read_history

_LEVEL = "/"


@dataclass(frozen=True)
class HowToImport:
    """How the rows of a source are read.

    Args:
        values: Classes and where they belong, before those of the mapping.
        own_classes: Take the source's own classes for dimensions and subcomponents.
        shuffle: The seed by which the options of questions are shuffled; None leaves their order.
    """

    taxonomy: Taxonomy
    values: Mapping[str, str] = field(default_factory=dict)
    own_classes: bool = False
    shuffle: int | None = None
    encoding: str | None = None
    sheet: str | None = None


def import_prompts(source: str | None, spec: ImportMap, how: HowToImport) -> Imported:
    """Imports the prompts of a source, which is a file, a folder or a mirror's address.

    Raises:
        InputError: A file cannot be read, is none of the source, or a value is unusable.
    """
    values = {folded(name): target_of(to, how.taxonomy) for name, to in how.values.items()}
    reader = _Reader(spec, how, values)
    with source_files(source, spec) as files:
        further = joined(files, spec, how.encoding)
        for file in files:
            if not is_companion(file, spec.join, source):
                before = reader.done.rows
                reader.read(file.name, rows_of(file, spec, how.encoding, how.sheet), further)
                reader.done.files.append(
                    ImportedFile(file.name, file.sha256, reader.done.rows - before)
                )
    if not reader.done.rows:
        raise InputError("holds no rows", path=source or spec.name)
    return reader.done


class _Reader:
    """Reads rows, one file after the other."""

    def __init__(
        self, spec: ImportMap, how: HowToImport, values: Mapping[str, Target | None]
    ) -> None:
        self.spec, self.how, self.values = spec, how, values
        self.done = Imported(spec)
        self._own: dict[str, str] = {}  # folded class → as it was first spelt
        self._ids: set[str] = set()
        self._counts: dict[tuple[tuple[str, ...], ...], ClassCount] = {}

    def read(
        self, file: str, rows: Iterable[Row], further: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Reads the rows of a file; one without a column that holds prompts is none of ours."""
        join = self.spec.join
        for position, row in enumerate(rows):
            fields = row.fields
            if position == 0 and not self._fits(fields):
                columns = " or ".join(self.spec.fields.prompt)
                raise InputError(
                    f"is no file of {self.spec.name}: no column {columns}, there are "
                    f"{listed_columns(fields) or 'none'}; --map prompt=NAME says which one it is",
                    path=file,
                    line=row.line,
                )
            if join is not None:
                key = value_at(fields, join.on)
                fields = {**further.get(str(key).strip(), {}), **fields}
            try:
                self._take(file, row.line, fields, row.fields)
            except InputError as error:
                raise error.at(file, row.line) from None

    def _fits(self, fields: Mapping[str, Any]) -> bool:
        found = (value_at(fields, column) for column in self.spec.fields.prompt)
        return any(value is not MISSING for value in found)

    def _take(
        self, file: str, line: int, fields: Mapping[str, Any], row: Mapping[str, Any]
    ) -> None:
        paths = tuple(self._paths(fields))
        shown = _LEVEL.join(paths[0]) if paths else ""
        if (counted := self._counts.get(paths)) is None:
            counted = self._counts[paths] = self._counted(paths)
        counted.rows += 1

        def leave(why: Why, of: str | None = None) -> None:
            self.done.left.append(LeftRow(file, line, why, shown, row, of))

        question = _text(fields, self.spec.fields.prompt)
        if not question.strip():
            leave("no text")
            return
        if counted.target is None:
            leave(
                "no class" if not paths else "no counterpart" if counted.known else "unknown class"
            )
            return
        try:
            text, choice = self._choice(question, fields)
        except _Left as reason:
            leave(reason.why)
            return
        prompt = self._prompt(text, choice, counted.target, shown, fields)
        if prompt.id in self._ids:
            leave("repeated", prompt.id)
            return
        counted.kept += 1
        self._ids.add(prompt.id)
        self.done.prompts.append(prompt)

    def _paths(self, fields: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
        """Yields the classes of a row, the levels of each."""
        levels = [_text(fields, columns).strip() for columns in self.spec.fields.class_]
        if self.spec.levels:
            levels = [part.strip() for level in levels for part in level.split(self.spec.levels)]
        levels = list(dict.fromkeys(filter(None, levels)))
        if not levels:
            return
        separator = self.spec.separator
        for last in levels[-1].split(separator) if separator else levels[-1:]:
            yield (*levels[:-1], last.strip())

    def _counted(self, paths: Sequence[tuple[str, ...]]) -> ClassCount:
        """Returns the count of a row's class; of several in one row that with the first place."""
        found = [(path, *self._place(path)) for path in paths]
        placed = next((each for each in found if each[1] is not None), None)
        path, target, known, why = placed or (found[0] if found else ((), None, False, None))
        key = folded(_LEVEL.join(path))
        name = _LEVEL.join(path)
        return self.done.classes.setdefault(key, ClassCount(name, target, known, why=why))

    def _place(self, path: tuple[str, ...]) -> tuple[Target | None, bool, Text | None]:
        """Returns where a class belongs, whether it is known, and why it has no place."""
        if self.how.own_classes:
            first, *rest = (self._own.setdefault(_plain(each), each) for each in path)
            return Target(first, _LEVEL.join(rest) or None), True, None
        levels = [folded(level) for level in path]
        for end in range(len(levels), 0, -1):
            for name in (_LEVEL.join(levels[:end]), levels[end - 1]):
                if name in self.values:
                    return self.values[name], True, None
        group: Classes | None = self.spec.group_of(path)
        if group is not None:
            return target_of(group.to, self.how.taxonomy), True, group.why
        named = _named(path, self.how.taxonomy)
        return named, named is not None, None

    def _choice(self, question: str, fields: Mapping[str, Any]) -> tuple[str, Choice | None]:
        """Returns what is asked, and the options if it is a multiple-choice question."""
        spec, columns = self.spec.choices, self.spec.fields
        if spec is None:
            return question, None
        given = _value(fields, columns.options)
        if spec.inside:
            parted = options_inside(question)
            if parted is None:
                return question, None
            question, options = parted
        elif given is None:
            return question, None
        else:
            found = read_options(given)
            if found is None:
                raise _Left("bad options")
            options = found
        told = _value(fields, columns.answer)
        answer = None if told is None else read_answer(told, len(options), spec.first)
        if told is not None and answer is None:
            raise _Left("bad answer")
        choice = Choice(options, answer)
        if self.how.shuffle is not None:
            choice = choice.shuffled(question, self.how.shuffle)
        return asked(spec.template, question, choice), choice

    def _prompt(
        self,
        text: str,
        choice: Choice | None,
        target: Target,
        source_class: str,
        row: Mapping[str, Any],
    ) -> Prompt:
        spec, columns = self.spec, self.spec.fields
        fields: dict[str, Any] = {
            "dimension": target.dimension,
            "subcomponent": target.subcomponent,
            "technique": _text(row, columns.technique).strip() or None,
            "expected": _expected(row, columns.expected) or (None if choice else spec.expected),
            "prompt": text,
            "source": spec.name,
            "source_id": _text(row, columns.id).strip() or None,
            "source_class": source_class or None,
            "licence": spec.licence or None,
            "language": _text(row, columns.language).strip().lower()[:2] or spec.language,
            **_turns(_value(row, columns.history), _text(row, columns.system), text),
        }
        if choice is not None:
            fields |= {"options": list(choice.options), "answer": choice.answer}
        fields |= {name: _value(row, (name,)) for name in spec.also}
        fields = {name: value for name, value in fields.items() if value is not None}
        try:
            own = prompt_id(text, fields.get("system"), fields.get("history"))
            return Prompt.model_validate({"id": own, **fields})
        except ValidationError as error:
            raise plain_error(error) from None


class _Left(Exception):
    """A row that becomes no prompt."""

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why: Why = why


def _plain(name: str) -> str:
    return folded(name.replace("&", "").replace(_LEVEL, ""))


def _value(fields: Mapping[str, Any], columns: Columns) -> Any:
    """Returns the first value that there is; None without any."""
    for column in columns:
        value = value_at(fields, column)
        if value is not MISSING:
            value = usable_value(value, column, {column})
            if value is not None and value != "" and value == value:  # tables hold NaN, too
                return value
    return None


def _text(fields: Mapping[str, Any], columns: Columns) -> str:
    value = _value(fields, columns)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"must be text, not {type(value).__name__}", field=columns[0])
    return str(value)


def _expected(fields: Mapping[str, Any], columns: Columns) -> Any:
    value = _text(fields, columns).strip()
    return value if value in get_args(Expected) else None


def _named(path: Sequence[str], taxonomy: Taxonomy) -> Target | None:
    """Returns where a class belongs whose name is the taxonomy's own; None for any other."""
    for dimension in taxonomy.dimensions:
        for level in reversed(path):
            try:
                part = dimension.subcomponent(level)
            except InputError:
                continue
            if len(path) < 2 or _named(path[:1], taxonomy) in (None, Target(dimension.name)):
                return Target(dimension.name, part.name)
    for level in reversed(path):
        try:
            return Target(taxonomy.dimension(level).name)
        except InputError:
            continue
    return None


def _turns(history: Any, system: str, text: str) -> dict[str, Any]:
    """Returns earlier turns and the system text, which sources put before the first turn."""
    if history and not (isinstance(history, list) and isinstance(history[0], Mapping)):
        history = read_history(history)
    if not history:
        return {"system": system} if system.strip() else {}
    messages = [*history, {"role": "user", "content": text}]
    _, said, turns = read_chat(messages, "history")
    whole = "\n".join(filter(None, [system, said]))
    return {"system": whole or None, "history": turns or None}


def with_columns(spec: ImportMap, columns: Mapping[str, str]) -> ImportMap:
    """Returns the mapping with other columns for some of our fields.

    `class`, `dimension` and `subcomponent` are levels of the class.
    """
    own = dict(columns)
    levels = [own.pop(name) for name in ("class", "dimension", "subcomponent") if name in own]
    known = {name for name in type(spec.fields).model_fields if name != "class_"}
    if unknown := own.keys() - known:
        names = ", ".join(sorted(known | {"class"}))
        raise InputError(f"--map names no field of a prompt: {min(unknown)!r}; fields: {names}")
    update: dict[str, Any] = {name: (column,) for name, column in own.items()}
    if levels:
        update["class_"] = tuple((column,) for column in levels)
    return spec.model_copy(update={"fields": spec.fields.model_copy(update=update)})

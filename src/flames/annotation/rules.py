"""What leads decide for everybody on the way: the guideline, whether flags need a reason, and
whether annotators are shown a scorer's scores.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from flames.annotation.database import guidelines, people, settings
from flames.annotation.derived import rules_text
from flames.annotation.events import NewEvent, append_events, event_time
from flames.annotation.people import get_lead, lock_person, newest_guideline
from flames.annotation.project import RULES, Project
from flames.annotation.tasks import Shown
from flames.errors import InputError, UsageError
from flames.records import Frozen
from flames.taxonomy import Language
from flames.text import utf8_safe

MAX_GUIDELINE = 20_000


class Rules(Frozen):
    """Whether a flag needs a reason; the scorer whose scores annotators are shown, if any."""

    flag_reason: bool = False
    suggestions: str | None = None


class Guideline(NamedTuple):
    """A version of the guideline, as Markdown in both languages; one may be empty."""

    version: int
    zh: str
    en: str
    by: str
    at: str

    def text(self, lang: Language) -> str:
        """Returns the text in a language, or in the other one if it lacks this."""
        return (self.zh or self.en) if lang == "zh" else (self.en or self.zh)


def read_rules(connection: Connection) -> Rules:
    """Returns the present rules."""
    query = select(settings.c.value).where(settings.c.name == RULES)
    stored = connection.execute(query).scalar_one_or_none()
    try:
        return Rules() if stored is None else Rules.model_validate_json(stored)
    except ValueError:
        raise InputError("is damaged: the rules of its leads cannot be read") from None


def set_flag_reason(project: Project, needed: bool, lead: str | None = None) -> Rules:
    """Asks for a reason with every flag from now on, or no longer."""
    with project.database.write() as connection:
        by = get_lead(connection, lead)
        rules = lock_rules(connection).model_copy(update={"flag_reason": needed})
        store_rules(connection, rules)
        event = NewEvent("rules", by.id, None, {"rules": rules.model_dump()})
        append_events(connection, [event], project.now())
    return rules


def lock_rules(connection: Connection) -> Rules:
    """Returns the rules, which nobody else changes until the transaction ends."""
    lock = select(settings.c.name).where(settings.c.name == "project").with_for_update()
    connection.execute(lock)
    return read_rules(connection)


def store_rules(connection: Connection, rules: Rules) -> None:
    """Writes locked rules; their event is the caller's."""
    value = rules_text(rules.model_dump())
    changed = update(settings).where(settings.c.name == RULES).values(value=value)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(settings).values(name=RULES, value=value))


def guideline_version(connection: Connection) -> int:
    """Returns the number of the present guideline; 0 if there is none."""
    return int(connection.execute(select(newest_guideline())).scalar_one())


def read_guidelines(project: Project) -> list[Guideline]:
    """Returns all versions of the guideline, the newest first."""
    query = (
        select(guidelines, people.c.name)
        .join(people, people.c.id == guidelines.c.person)
        .order_by(guidelines.c.version.desc())
    )
    with project.database.read() as connection:
        rows = connection.execute(query).all()
    return [Guideline(row.version, row.zh, row.en, row.name, row.at) for row in rows]


def publish_guideline(
    project: Project, zh: str, en: str, lead: str | None = None, *, after: int | None = None
) -> Guideline:
    """Publishes a new version: who labels reads it before the next item.

    `after` is the version that was edited; if somebody published another since, nothing changes.
    """
    zh, en = (_checked(text) for text in (zh, en))
    if not zh.strip() and not en.strip():
        raise UsageError("a guideline needs text, in Chinese, in English or in both")
    with project.database.write() as connection:
        by = get_lead(connection, lead)
        lock_rules(connection)
        last = guideline_version(connection)
        if after is not None and after != last:
            message = f"somebody else published version {last} in the meantime; read it first"
            raise UsageError(message)
        if last:
            old = connection.execute(select(guidelines).where(guidelines.c.version == last)).one()
            if (old.zh, old.en) == (zh, en):
                raise UsageError(f"the text is that of version {last}: nothing was changed")
        version, now = last + 1, project.now()
        event = NewEvent("guideline", by.id, None, {"version": version, "zh": zh, "en": en})
        seq = append_events(connection, [event], now)
        at = event_time(connection, seq)
        values = {"version": version, "zh": zh, "en": en, "person": by.id, "at": at}
        connection.execute(insert(guidelines).values(values))
    return Guideline(version, zh, en, by.name, at)


def read_guideline(project: Project, person: int, version: int) -> None:
    """Notes that a person has read a version of the guideline."""
    with project.database.write() as connection:
        lock_person(connection, person)
        query = select(people.c.guideline).where(people.c.id == person)
        if connection.execute(query).scalar_one() >= version:
            return
        if version > guideline_version(connection):
            raise UsageError(f"there is no version {version} of the guideline")
        connection.execute(update(people).where(people.c.id == person).values(guideline=version))
        event = NewEvent("read_guideline", person, None, {"version": version})
        append_events(connection, [event], project.now())


def seen(row: Row[Any], shown: Shown, newest: int) -> dict[str, int]:
    """Returns what a label says of the guideline and of a scorer's score on its page.

    `newest` is the version of the present guideline.
    """
    told: dict[str, int] = {}
    if shown.guideline != 0:
        version = newest if shown.guideline is None else min(shown.guideline, newest)
        told |= {"guideline": version} if version else {}
    suggestion = row.suggestion if shown.suggestion is None else shown.suggestion
    if suggestion:
        told["suggested"] = suggestion
    return told


def _checked(text: str) -> str:
    text = utf8_safe(
        text.replace("\r\n", "\n").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    ).strip()
    if len(text) > MAX_GUIDELINE:
        raise UsageError(f"a guideline has at most {MAX_GUIDELINE:,} characters, not {len(text):,}")
    return text

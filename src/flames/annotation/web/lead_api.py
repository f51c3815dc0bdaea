"""The part of the JSON interface for what leads decide, and for comments."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from flames.annotation import batches, comments, people, rules, suggestions
from flames.annotation.batches import Batch
from flames.annotation.lead_options import BatchOptions
from flames.annotation.rules import Rules
from flames.annotation.web.callers import AnnotatorCall, AnyoneCall, LeadCall, TalkerCall
from flames.records import Frozen

router = APIRouter()


class GuidelineText(Frozen):
    """A version of the guideline in Markdown; `read` is the version that the asker read last."""

    version: int
    zh: str
    en: str
    by: str
    at: str
    read: int


class NewGuideline(Frozen):
    """A new version; `after` is the version that was edited, 0 for none."""

    zh: str = ""
    en: str = ""
    after: int | None = None


class ReadVersion(Frozen):
    """The version that was read."""

    version: int


class NewRules(Frozen):
    """What is to hold for everybody; a file of suggestions is read on the server alone."""

    flag_reason: bool | None = None
    suggestions: None = None


class BatchItems(Frozen):
    """Which items a batch gets, and who gets the batch."""

    people: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    dimension: str | None = None
    count: int | None = None


class Quota(Frozen):
    """Labels at most; None for no limit."""

    labels: int | None


class NewComment(Frozen):
    """A comment; only leads have an addressee."""

    item: str
    text: str
    to: str | None = None


class OneComment(Frozen):
    """A comment on an item."""

    number: int
    item: str
    by: str
    to: str | None
    text: str
    at: str


@router.get("/guideline")
def get_guideline(visit: AnyoneCall) -> GuidelineText:
    """Returns the present guideline."""
    versions = rules.read_guidelines(visit.project)
    if not versions:
        raise HTTPException(404, "there is no guideline yet")
    return GuidelineText(**versions[0]._asdict(), read=visit.session.person.guideline)


@router.put("/guideline")
def put_guideline(visit: LeadCall, given: NewGuideline) -> GuidelineText:
    """Publishes a new version; everybody reads it before the next item."""
    me = visit.session.person
    made = rules.publish_guideline(
        visit.project, given.zh, given.en, me.name, after=given.after
    )  # fmt: skip
    return GuidelineText(**made._asdict(), read=me.guideline)


@router.post("/guideline/read", status_code=204)
def read_guideline(visit: AnnotatorCall, given: ReadVersion) -> None:
    """Notes that the annotator has read a version."""
    rules.read_guideline(visit.project, visit.me, given.version)


@router.get("/rules")
def get_rules(visit: LeadCall) -> Rules:
    """Returns what holds for everybody."""
    with visit.project.database.read() as connection:
        return rules.read_rules(connection)


@router.patch("/rules")
def patch_rules(visit: LeadCall, given: NewRules) -> Rules:
    """Changes what holds for everybody; `suggestions: null` shows no scorer's scores any more."""
    me = visit.session.person.name
    if given.flag_reason is not None:
        rules.set_flag_reason(visit.project, given.flag_reason, me)
    if "suggestions" in given.model_fields_set:
        suggestions.hide_suggestions(visit.project, me)
    return get_rules(visit)


@router.get("/batches")
def get_batches(visit: LeadCall) -> list[Batch]:
    """Returns all batches."""
    return batches.list_batches(visit.project)


@router.put("/batches/{name}")
def put_batch(visit: LeadCall, name: str, given: BatchItems) -> Batch:
    """Gives items to some people alone, beside those that the batch has."""
    me = visit.session.person.name
    choice = BatchOptions(
        me, people=given.people, items=given.items, dimension=given.dimension, count=given.count
    )
    made = batches.assign_batch(visit.project, name, choice, me)
    assert made is not None
    return made


@router.delete("/batches/{name}", status_code=204)
def delete_batch(visit: LeadCall, name: str) -> None:
    """Gives the items of a batch to everybody again."""
    me = visit.session.person.name
    batches.assign_batch(visit.project, name, BatchOptions(me, free=True), me)


@router.put("/people/{name}/quota", status_code=204)
def put_quota(visit: LeadCall, name: str, given: Quota) -> None:
    """Limits how many labels a person is to give."""
    people.set_quota(visit.project, name, given.labels, visit.session.person.name)


@router.get("/comments")
def get_comments(visit: TalkerCall, item: str | None = None) -> list[OneComment]:
    """Returns the comments that the asker may read, in their order."""
    return [_shown(c) for c in comments.read_comments(visit.project, visit.session.person, item)]


@router.post("/comments", status_code=201)
def post_comment(visit: TalkerCall, given: NewComment) -> OneComment:
    """Stores a comment on an item."""
    me = visit.session.person.name
    return _shown(comments.comment(visit.project, me, given.item, given.text, given.to))


@router.delete("/comments/{number}", status_code=204)
def delete_comment(visit: TalkerCall, number: int) -> None:
    """Takes a comment back."""
    comments.withdraw(visit.project, visit.session.person.name, number)


def _shown(each: comments.Comment) -> OneComment:
    return OneComment(**{name: getattr(each, name) for name in OneComment.model_fields})

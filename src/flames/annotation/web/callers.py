"""Who calls the JSON interface: a person, by token, in a role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request

from flames.annotation import access
from flames.annotation.options import Role
from flames.annotation.web.session import Visit, project_of

_bearer = HTTPBearer(auto_error=False, description="From `flames annotate user token`.")


def _visit(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Visit:
    if given is not None:
        project = project_of(request)
        with project.database.look() as connection:
            session = access.find_session(connection, project, given.credentials)
        if session is not None:
            return Visit(request, session)
    raise HTTPException(401, "a token is needed: Authorization: Bearer TOKEN")


def _only(*roles: Role) -> Callable[[Visit], Visit]:
    def check(visit: Annotated[Visit, Depends(_visit)]) -> Visit:
        if visit.session.person.role not in roles:
            raise HTTPException(403, f"only for: {', '.join(roles)}")
        return visit

    return check


AnyoneCall = Annotated[Visit, Depends(_visit)]
AnnotatorCall = Annotated[Visit, Depends(_only("annotator"))]
LeadCall = Annotated[Visit, Depends(_only("lead"))]
TalkerCall = Annotated[Visit, Depends(_only("annotator", "lead"))]

"""Human annotation: projects, the web application, and files in and out.

Needs the extra `annotate`. Names are found when they are first used, so that importing this
package costs nothing and says what to install where the extra is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from flames.errors import MissingExtraError

if TYPE_CHECKING:
    from flames.annotation import adjudication, people, web
    from flames.annotation._create import Created, Plan, create_project
    from flames.annotation._export import Export, export
    from flames.annotation._import import Imported, import_labels
    from flames.annotation._insight import Insight, Status, project_agreement, project_status
    from flames.annotation._label_studio import label_studio_config
    from flames.annotation._project import Project, Settings, open_project
    from flames.annotation._sheets import Sheet, write_sheet
    from flames.annotation._verify import Verification, verify

_WHERE = {
    "Created": "_create",
    "Export": "_export",
    "Imported": "_import",
    "Insight": "_insight",
    "Plan": "_create",
    "Project": "_project",
    "Settings": "_project",
    "Sheet": "_sheets",
    "Status": "_insight",
    "Verification": "_verify",
    "create_project": "_create",
    "export": "_export",
    "import_labels": "_import",
    "label_studio_config": "_label_studio",
    "open_project": "_project",
    "project_agreement": "_insight",
    "project_status": "_insight",
    "verify": "_verify",
    "write_sheet": "_sheets",
}
_MODULES = {"adjudication", "people", "web"}
_EXTRA = {"alembic", "argon2", "fastapi", "psycopg", "python_multipart", "sqlalchemy", "uvicorn"}

__all__ = [
    "Created",
    "Export",
    "Imported",
    "Insight",
    "Plan",
    "Project",
    "Settings",
    "Sheet",
    "Status",
    "Verification",
    "adjudication",
    "create_project",
    "export",
    "import_labels",
    "label_studio_config",
    "open_project",
    "people",
    "project_agreement",
    "project_status",
    "verify",
    "web",
    "write_sheet",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_WHERE.get(name, name)}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _EXTRA:
            raise MissingExtraError("annotate", "annotating") from None
        raise
    return module if name in _MODULES else getattr(module, name)

"""Human annotation: projects, the web application, and files in and out.

Needs the extra `annotate`. Names are imported on first use, so importing this package costs
nothing, and a missing extra is reported with what to install.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from flames.errors import MissingExtraError

if TYPE_CHECKING:
    from flames.annotation import (
        access,
        adjudication,
        batches,
        comments,
        marks,
        people,
        rules,
        suggestions,
        web,
    )
    from flames.annotation.additions import add_items
    from flames.annotation.backups import backup
    from flames.annotation.create import create_project
    from flames.annotation.formats import write_sheet
    from flames.annotation.insight import project_agreement, project_status
    from flames.annotation.label_studio import label_studio_config
    from flames.annotation.labels_in import import_labels
    from flames.annotation.labels_out import export
    from flames.annotation.options import ProjectPlan
    from flames.annotation.project import Project, open_project
    from flames.annotation.verification import verify
    from flames.annotation.voiding import void
    from flames.annotation.webhook import tell_finished

_MODULES = (
    *("access", "adjudication", "batches", "comments", "marks", "people", "rules"),
    *("suggestions", "web"),
)
_NAMES = {
    "additions": "add_items",
    "backups": "backup",
    "create": "create_project",
    "formats": "write_sheet",
    "insight": "project_agreement project_status",
    "label_studio": "label_studio_config",
    "labels_in": "import_labels",
    "labels_out": "export",
    "options": "ProjectPlan",
    "project": "Project open_project",
    "verification": "verify",
    "voiding": "void",
    "webhook": "tell_finished",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}
_EXTRA = {
    "alembic",
    "argon2",
    "fastapi",
    "markdown_it",
    "psycopg",
    "python_multipart",
    "sqlalchemy",
    "uvicorn",
}

__all__ = [
    "Project",
    "ProjectPlan",
    "access",
    "add_items",
    "adjudication",
    "backup",
    "batches",
    "comments",
    "create_project",
    "export",
    "import_labels",
    "label_studio_config",
    "marks",
    "open_project",
    "people",
    "project_agreement",
    "project_status",
    "rules",
    "suggestions",
    "tell_finished",
    "verify",
    "void",
    "web",
    "write_sheet",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES and name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULE_OF.get(name, name)}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _EXTRA:
            raise MissingExtraError("annotate", "annotating") from None
        raise
    return module if name in _MODULES else getattr(module, name)

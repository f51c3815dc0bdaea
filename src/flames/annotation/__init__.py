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
    from flames.annotation.create import Created, create_project
    from flames.annotation.insight import Insight, Status, project_agreement, project_status
    from flames.annotation.label_studio import label_studio_config
    from flames.annotation.labels_in import Imported, import_labels
    from flames.annotation.labels_out import Export, export
    from flames.annotation.options import (
        AgreementOptions,
        DecisionOptions,
        LabelExportOptions,
        ProjectPlan,
        ServeOptions,
        SheetOptions,
    )
    from flames.annotation.project import Project, ProjectSettings, open_project
    from flames.annotation.sheets import Sheet, write_sheet
    from flames.annotation.verification import Verification, verify

_WHERE = {
    "AgreementOptions": "options",
    "Created": "create",
    "DecisionOptions": "options",
    "Export": "labels_out",
    "Imported": "labels_in",
    "Insight": "insight",
    "LabelExportOptions": "options",
    "Project": "project",
    "ProjectPlan": "options",
    "ProjectSettings": "project",
    "ServeOptions": "options",
    "Sheet": "sheets",
    "SheetOptions": "options",
    "Status": "insight",
    "Verification": "verification",
    "create_project": "create",
    "export": "labels_out",
    "import_labels": "labels_in",
    "label_studio_config": "label_studio",
    "open_project": "project",
    "project_agreement": "insight",
    "project_status": "insight",
    "verify": "verification",
    "write_sheet": "sheets",
}
_MODULES = {"adjudication", "people", "web"}
_EXTRA = {"alembic", "argon2", "fastapi", "psycopg", "python_multipart", "sqlalchemy", "uvicorn"}

__all__ = [
    "AgreementOptions",
    "Created",
    "DecisionOptions",
    "Export",
    "Imported",
    "Insight",
    "LabelExportOptions",
    "Project",
    "ProjectPlan",
    "ProjectSettings",
    "ServeOptions",
    "Sheet",
    "SheetOptions",
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

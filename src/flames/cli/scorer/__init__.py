"""`flames scorer`: what judges responses. Each module adds its commands to `app`."""

from __future__ import annotations

import typer

app = typer.Typer(help="List, train, test and convert scorers.", no_args_is_help=True)

# Modules register their commands.
from flames.cli.scorer import (  # noqa: E402
    calibrate,  # noqa: F401
    catalog,  # noqa: F401
    evaluate,  # noqa: F401
    export,  # noqa: F401
    import_,  # noqa: F401
    probe,  # noqa: F401
    selftest,  # noqa: F401
    spent,  # noqa: F401
    train,  # noqa: F401
)

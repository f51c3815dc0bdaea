"""Exporting a trained scorer to a package that runs without torch or transformers.

Importing this package loads neither; `export` does.
"""

from flames.export._export import (
    PRECISIONS,
    REFUSED_BELOW,
    USED_FROM,
    ExportOptions,
    export,
)
from flames.export._package import Check, File, Package, read_package

__all__ = [
    "PRECISIONS",
    "REFUSED_BELOW",
    "USED_FROM",
    "Check",
    "ExportOptions",
    "File",
    "Package",
    "export",
    "read_package",
]

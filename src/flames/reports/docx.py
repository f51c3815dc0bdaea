"""Documents as DOCX, for people who hand in files of a word processor."""

from __future__ import annotations

import io

from flames.errors import need_extra
from flames.reports.tables import (
    Document,
    Heading,
    Line,
    Strong,
    Table,
    cell_text,
    in_language,
)
from flames.taxonomy import Language
from flames.text import for_xml

_LATIN, _CHINESE = "Times New Roman", "宋体"
_SMALL, _SIZE = 8.5, 10.5  # points


def docx_bytes(document: Document, title: str, lang: Language) -> bytes:
    """Returns headings, lines and tables as a DOCX file.

    Raises:
        MissingExtraError: python-docx is not installed.
    """
    need_extra("filing", "writing DOCX", "docx")
    import docx
    from docx.oxml.ns import qn
    from docx.shared import Pt

    file = docx.Document()
    file.core_properties.title = for_xml(title)[:250]
    file.core_properties.author = "Flames"
    for name in ("Normal", "Heading 1", "Heading 2", "Heading 3"):
        style = file.styles[name]
        style.font.name = _LATIN
        style.element.rPr.rFonts.set(qn("w:eastAsia"), _CHINESE)
    file.styles["Normal"].font.size = Pt(_SIZE)
    for block in document:
        match block:
            case Heading():
                file.add_heading(for_xml(in_language(block.text, lang)), min(block.level, 3))
            case Line():
                paragraph = file.add_paragraph()
                for cell in block.cells:
                    run = paragraph.add_run(for_xml(cell_text(cell, lang)))
                    run.bold = isinstance(cell, Strong) or block.kind == "note"
                    if block.kind == "soft":
                        run.font.size = Pt(_SMALL)
            case Table():
                if block.title:
                    file.add_paragraph().add_run(
                        for_xml(in_language(block.title, lang))
                    ).bold = True
                rows = [[in_language(column.title, lang) for column in block.columns]]
                rows += [[cell_text(cell, lang) for cell in row.cells] for row in block.rows]
                table = file.add_table(len(rows), len(block.columns), style="Table Grid")
                cells = iter(table._cells)  # table.cell() is quadratic
                for number, row in enumerate(rows):
                    for text in row:
                        run = next(cells).paragraphs[0].add_run(for_xml(text))
                        run.bold = number == 0
                        run.font.size = Pt(_SMALL)
                file.add_paragraph()
    buffer = io.BytesIO()
    file.save(buffer)
    return buffer.getvalue()

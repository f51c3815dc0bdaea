"""Small files as people bring them: each with the responses that they hold, or what is said.

One line a case: the name of the file, what it holds (bytes, text, or sheets of cells), and the
texts of its responses or a part of the one-line message. A reported file is one more line.
"""

# ruff: noqa: E501  (one line a case)

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openpyxl

HEAD = "dimension,prompt,response"
ZERO_WIDTH = "\u200b"


@dataclass(frozen=True)
class Case:
    """A file and what reading it as responses must give."""

    name: str
    file: str
    content: bytes | str | dict[str, list[list[Any]]] | Callable[[], bytes]
    expected: list[str] | str
    notice: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Writes the file."""
        path = folder / self.file
        content = self.content
        if isinstance(content, dict):
            content = workbook(content)
        elif isinstance(content, str):
            content = content.encode("utf-8")
        path.write_bytes(content if isinstance(content, bytes) else content())
        return path


def workbook(sheets: dict[str, list[list[Any]]], hidden: str = "") -> bytes:
    """Returns an XLSX file; texts that begin with `=` become formulas without a value."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
        if name == hidden:
            sheet.sheet_state = "hidden"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def patched(sheets: dict[str, list[list[Any]]], pattern: str, by: str) -> bytes:
    """Returns an XLSX file with a change in the text of its first sheet."""
    source = zipfile.ZipFile(io.BytesIO(workbook(sheets)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            raw = source.read(name)
            if name == "xl/worksheets/sheet1.xml":
                raw, changes = re.subn(pattern.encode(), by.encode(), raw)
                assert changes == 1
            target.writestr(name, raw)
    return file.getvalue()


def table(*responses: str, head: str = HEAD, mark: str = ",", end: str = "\n") -> str:
    """Returns a table of responses to the prompts 问0, 问1, …."""
    rows = [head.replace(",", mark)]
    rows += [mark.join(("安全", f"问{n}", text)) for n, text in enumerate(responses)]
    return "".join(row + end for row in rows)


def cells(*responses: Any, **more: Any) -> list[list[Any]]:
    """Returns a sheet of responses, with further columns that have one value throughout."""
    rows = [["安全", f"问{n}", text, *more.values()] for n, text in enumerate(responses)]
    return [[*HEAD.split(","), *more], *rows]


def line(**fields: str) -> str:
    """Returns a line of JSON whose values are given as JSON."""
    known = {"dimension": '"安全"', "prompt": '"问"', "response": '"答"', **fields}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in known.items()) + "}\n"


BOM = codecs.BOM_UTF8
AB = ["甲", "乙"]
ROUNDED = "a spreadsheet made 1.2E+15 of a long number; format the column as text"
TWO = {"一月": cells("甲", "乙"), "二月": cells("丙")}

CASES = [
    # Texts of tables and their marks
    Case("plain", "a.csv", table(*AB), AB),
    Case("CRLF", "a.csv", table(*AB, end="\r\n"), AB),
    Case("no last line end", "a.csv", table(*AB).rstrip(), AB),
    Case("semicolons", "a.csv", table(*AB, mark=";"), AB),
    Case("semicolons, commas within", "a.csv", table("甲,1", "乙", mark=";"), ["甲,1", "乙"]),
    Case("quoted names", "a.csv", table(*AB, head='"dimension","prompt","response"'), AB),
    Case("a quoted name with a comma", "a.csv", '"a,b";' + table(*AB, mark=";").replace("\n安", "\n;安"), AB),
    Case("tabs", "a.tsv", table(*AB, mark="\t"), AB),
    Case("tabs in .csv", "a.csv", table(*AB, mark="\t"), AB),
    Case("bars", "a.csv", table(*AB, mark="|"), AB),
    Case("sep=;", "a.csv", "sep=;\r\n" + table(*AB, mark=";", end="\r\n"), AB),
    Case("SEP=tab", "a.csv", "SEP=\t\n" + table(*AB, mark="\t"), AB),
    Case('"sep=;"', "a.csv", '"sep=;"\n' + table(*AB, mark=";"), AB),
    Case("sep=, after a mark", "a.csv", BOM + b"sep=,\n" + table(*AB).encode(), AB),
    Case("error after sep", "a.csv", "sep=,\n" + table("甲", "乙,丙"), "a.csv:4: has 4 cells, the header 3"),
    Case("UTF-16", "a.csv", table(*AB, mark="\t").encode("utf-16"), AB),
    Case("UTF-16, two marks", "a.csv", ("\ufeff" + table(*AB)).encode("utf-16"), AB),
    Case("BOM", "a.csv", BOM + table(*AB).encode(), AB),
    Case("two BOMs", "a.csv", BOM * 2 + table(*AB).encode(), AB),
    Case("a BOM within quotes", "a.csv", BOM + '"\ufeffdimension",prompt,response\n安全,问,甲\n'.encode(), ["甲"]),
    Case("zero width in names", "a.csv", table(*AB, head=HEAD.replace(",", f"{ZERO_WIDTH},\u2060")), AB),
    Case("no-break spaces in names", "a.csv", table(*AB, head=HEAD.replace(",", "\u00a0,\u3000")), AB),
    Case("CR alone", "a.csv", table(*AB, end="\r"), AB),
    Case("CR alone, LF in a cell", "a.csv", table('"甲\n1"', "乙", end="\r"), ["甲\n1", "乙"]),
    Case("CR alone, semicolons", "a.csv", table(*AB, mark=";", end="\r"), AB),
    Case("CR in a cell", "a.csv", table('"甲\r1"', "乙"), ["甲\r1", "乙"]),
    Case("a title", "a.csv", "九月的回复,,\n" + table(*AB), AB, "line 1 is taken for a title"),
    Case("a title and a note", "a.csv", "九月的回复\n\n第二版\n" + table(*AB), AB, "lines 1 to 3 are"),
    Case("a title over semicolons", "a.csv", "回复, 九月\n" + table(*AB, mark=";"), AB, "line 1 is"),
    Case("a title over mapped names", "a.csv", "表一,,\n维度,问题,回答\n安全,问,甲\n", ["甲"], "line 1 is",
         {"dimension": "维度", "prompt": "问题", "response": "回答"}),
    Case("a title over unknown names", "a.csv", "表一\n维度,问题,回答\n安全,问,甲\n", "is that line a title? delete it"),
    Case("empty columns", "a.csv", table("甲,,", "乙,,", head=HEAD + ",,"), AB),
    Case("a column twice", "a.csv", table(*AB, head=HEAD + ",prompt"), "column 'prompt' is there twice"),
    Case("an open quote", "a.csv", table('"甲', "乙"), "a.csv:2: is no readable CSV"),
    Case("a cell too many", "a.csv", table("甲,乙"), "has 4 cells, the header 3; is a quote missing?"),
    Case("GB18030", "a.csv", table(*AB).encode("gb18030"), "--encoding gb18030 may help"),
    Case("nothing", "a.csv", "", "holds no responses"),
    Case("names alone", "a.csv", HEAD + "\n", "holds no responses"),
    Case("packed", "a.csv.gz", gzip.compress(table(*AB).encode()), AB),
    Case("half packed", "a.csv.gz", gzip.compress(table(*AB * 99).encode())[:-9], "is no whole gzip file"),
    Case("binary", "a.csv", b"\x00\x01", "is a binary file"),
    # What spreadsheet programs make of texts
    Case("our guard", "a.csv", table("'- 第一", "'=1+1", "乙"), ["- 第一", "=1+1", "乙"]),
    Case("our guard on a quote", "a.csv", table("''- 第一", "'''@x"), ["'- 第一", "''@x"]),
    Case("a text in quotes", "a.csv", table("'好'", "'", "''"), ["'好'", "'", "''"]),
    Case("another's quote", "a.csv", table("'-1' 是负数", "- 第一"), ["'-1' 是负数", "- 第一"]),
    Case("a guard beside numbers", "a.csv", table("'- 甲,-1.5", "乙,2", head=HEAD + ",z"), ["- 甲", "乙"]),
    Case("a guard on a name", "a.csv", table("甲,1", head=HEAD + ",'=z"), ["甲"]),
    Case("a long number in an answer", "a.csv", table("1.2E+15"), ROUNDED),
    Case("a long number in an id", "a.csv", table("甲,1.2E+15", head=HEAD + ",prompt_id"), f"field `prompt_id`: {ROUNDED}"),
    Case("a long number unread", "a.csv", table("甲,1.2E+15", head=HEAD + ",cost"), ["甲"]),
    Case("a long number, decimal comma", "a.csv", table("1,1E+17", mark=";"), "made 1,1E+17 of a long number"),
    Case("a small exponent", "a.csv", table("3.0E+00"), ["3.0E+00"]),
    Case("a broken formula", "a.csv", table("#NAME?"), "took the text for a formula and put #NAME? in its place"),
    Case("a broken formula unread", "a.csv", table("甲,#REF!", head=HEAD + ",sum"), ["甲"]),
    Case("decimal commas", "a.csv", table("甲;1,5", mark=";", head=HEAD + ",latency_s"), ["甲"]),
    Case("no number at all", "a.csv", table("甲;1,5,2", mark=";", head=HEAD + ",latency_s"), "field `latency_s`"),
    # Spreadsheets
    Case("a sheet", "a.xlsx", {"回复": cells(*AB)}, AB),
    Case("two sheets", "a.xlsx", TWO, AB, "only the sheet 一月 is read, not 二月; --sheet chooses"),
    Case("three sheets", "a.xlsx", {**TWO, "三月": cells("丁")}, AB, "not 二月 or 三月"),
    Case("a sheet by name", "a.xlsx", TWO, ["丙"], options={"--sheet": "二月"}),
    Case("a sheet by number", "a.xlsx", TWO, ["丙"], options={"--sheet": "2"}),
    Case("a sheet that is not there", "a.xlsx", TWO, "has no sheet '3'; there are: 一月, 二月", options={"--sheet": "3"}),
    Case("a sheet named 1", "a.xlsx", {"甲": cells("甲"), "1": cells("乙")}, ["乙"], options={"--sheet": "1"}),
    Case("an empty first sheet", "a.xlsx", {"空": [], "回复": cells(*AB)}, AB),
    Case("a hidden sheet", "a.xlsx", lambda: workbook({"旧": cells("旧"), "新": cells(*AB)}, hidden="旧"), AB),
    Case("--sheet beside other formats", "a.csv", table(*AB), AB, options={"--sheet": "2"}),
    Case("no sheet at all", "a.xlsx", b"dimension,prompt", "is no readable spreadsheet"),
    Case("a sheet named .csv", "a.csv", workbook({"回复": cells(*AB)}), "name it .xlsx"),
    Case("a formula without its value", "a.xlsx", {"回复": cells("甲", "=A1")}, "C3 holds a formula without its value"),
    Case("the same, unread", "a.xlsx", {"回复": cells(*AB, length="=LEN(C2)")}, AB),
    Case("a formula with its value", "a.xlsx",
         lambda: patched({"回复": cells("=A1")}, r'<c r="C2"><f>A1</f>(?:<v ?/>|<v></v>)', '<c r="C2" t="str"><f>A1</f><v>甲</v>'), ["甲"]),
    Case("a formula whose value is empty", "a.xlsx",
         lambda: patched({"回复": cells("=A1")}, r'<c r="C2"><f>A1</f>(?:<v ?/>|<v></v>)', '<c r="C2" t="str"><f>A1</f><v></v>'), [""]),
    Case("a broken formula in a cell", "a.xlsx",
         lambda: patched({"回复": cells("=A1")}, r'<c r="C2"><f>A1</f>(?:<v ?/>|<v></v>)', '<c r="C2" t="e"><f>-x</f><v>#NAME?</v>'),
         "C2 shows #NAME?, which took the place of a text"),
    Case("a title above a sheet", "a.xlsx", {"回复": [["九月"], [], *cells(*AB)]}, AB, "lines 1 to 2 are"),
    Case("a sheet lower down", "a.xlsx", {"回复": [[], [None, *HEAD.split(",")], [None, "安全", "问", "甲"]]}, ["甲"]),
    Case("zero width in a sheet's names", "a.xlsx", {"回复": [["dimension", f"{ZERO_WIDTH}prompt", "response "], ["安全", "问", "甲"]]}, ["甲"]),
    Case("our guard in a sheet", "a.xlsx", {"回复": cells("'- 第一", "'好")}, ["- 第一", "'好"]),
    Case("numbers as answers", "a.xlsx", {"回复": cells(13800138000, 1.5)}, ["13800138000", "1.5"]),
    Case("a rounded number", "a.xlsx", {"回复": cells(110101199003078888)}, "a spreadsheet rounded a long number"),
    Case("a rounded number unread", "a.xlsx", {"回复": cells("甲", cost=1.2e15)}, ["甲"]),
    # JSON
    Case("lines", "a.jsonl", line() + line(prompt='"二"'), ["答", "答"]),
    Case("NaN unread", "a.jsonl", line(loss="NaN"), ["答"]),
    Case("Infinity unread, inside", "a.jsonl", line(stats='{"loss": [1, -Infinity]}'), ["答"]),
    Case("NaN in an answer", "a.jsonl", line(response="NaN"), "field `response`: NaN is not a JSON number; write null"),
    Case("NaN inside what is read", "a.jsonl", line(usage='{"total_tokens": NaN}'), "field `usage`: NaN is not"),
    Case("NaN in an array", "a.json", f"[{line(loss='NaN')}]", ["答"]),
    Case("two BOMs before a line", "a.jsonl", BOM * 2 + line().encode(), ["答"]),
    Case("a BOM between lines", "a.jsonl", line() + "\ufeff" + line(prompt='"二"'), ["答", "答"]),
    Case("lines that end with CR", "a.jsonl", (line() + line(prompt='"二"')).replace("\n", "\r"), ["答", "答"]),
    Case("an error after CR", "a.jsonl", (line() + "{oops}\n").replace("\n", "\r"), "a.jsonl:2: is no JSON"),
    Case("a cut line", "a.jsonl", line() + line()[:20], "the file ends here, was it cut off?"),
    Case("an array named .jsonl", "a.jsonl", f"[{line()}]", "one array is named .json"),
    Case("lines named .json", "a.json", line() + line(prompt='"二"'), ["答", "答"]),
    Case("inside an object", "a.jsonl", line(data='{"text": {"zh": "内"}}', response="null"), ["内"], options={"response": "data.text.zh"}),
    Case("not inside an object", "a.jsonl", line(data='{"text": "内"}'), "columns: dimension, prompt, response, data.text", options={"response": "data.reply"}),
]  # fmt: skip

"""Pages: escaping, the data block, languages, the policy; in strings and in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from flames.reports.page import render_page, script_json
from flames.reports.words import load_strings
from flames.taxonomy import Text

TITLE = Text(zh="标题 <b>", en='Title <b> & "more"')


def test_every_string_stands_in_both_languages_with_the_same_places() -> None:
    import string

    for key, text in load_strings().items():
        assert text.zh.strip(), key
        assert text.en.strip(), key
        names = [
            sorted(name for _, name, _, _ in string.Formatter().parse(words) if name)
            for words in (text.zh, text.en)
        ]
        assert names[0] == names[1], key


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_script_json_reads_back_and_cannot_leave_its_element(data: object) -> None:
    text = str(script_json(data))
    assert json.loads(text) == data
    assert not set(text) & {"<", ">", "&", "\u2028", "\u2029"}
    text.encode("utf-8")


def test_a_page_holds_both_languages_and_a_policy_that_names_its_own_script() -> None:
    html = render_page("base.html.jinja", title=TITLE, lang="en")
    assert '<html lang="en" data-lang="en">' in html
    assert "跳到正文" in html
    assert "Skip to the content" in html
    assert "<b>" not in html
    assert "unsafe" not in html
    assert "http" not in html.split("Content-Security-Policy")[1].split("sha256")[0]


def test_a_page_opens_without_errors_and_switches_its_language(page, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    data = {"text": "</script><script>document.title='owned'</script>\u2028\ud800\x00"}
    path.write_text(
        render_page("base.html.jinja", title=TITLE, lang="zh", data=data), encoding="utf-8"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.title() == TITLE.zh
    assert page.evaluate("flames.data.text.length") == len(data["text"])
    page.get_by_role("button", name="English").click()
    assert page.title() == TITLE.en
    assert page.evaluate("document.documentElement.lang") == "en"
    assert asked == [path.as_uri()]


def test_templates_show_marks_that_hide_or_reorder_text() -> None:
    from flames.reports import page as module

    env: Environment = module.environment("flames.reports")
    assert env.from_string("{{ x }}").render(x="a\u202eb\x1b[31mc<") == "a\ufffdbc&lt;"

"""The pages in a real browser: hostile text, keys, phone, dark mode, screen readers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from annotating import label, responses, served
from pages import overflow, serious

from flames.annotation import (
    Project,
    access,
    people,
    project_status,
    verify,
)
from flames.annotation.web.hidden import mark_hidden_characters

pytestmark = pytest.mark.chromium

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<svg onload=\"document.title='owned'\"><a href='javascript:1'>x</a></svg>",
    '"><textarea autofocus onfocus="document.title=\'owned\'">',
    "<a href=\"javascript:document.title='owned'\">click</a> [x](javascript:alert(1))",
    "</div></form><form action=https://evil.example><button name=do value=1>3</button></form>",
    "\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x07link\x1b]8;;\x07 \x00 \x07",
    "\u202eeslaf\u202c \u2066isolated\u2069 \u200b\u200bzero \ufeff width",
    "<style>body{display:none}</style><base href=https://evil.example/><meta http-equiv=refresh>",
    "长" * 1_000_000,
    "a" * 1_000_000,
    "\u202e" * 300_000 + "a\u202e" * 20_000,
    "{{ 7*7 }} {% raw %} &lt;b&gt; </textarea><script>1</script>",
]


@pytest.fixture
def make(make_local: Any) -> Any:
    def project(rows: list[dict[str, Any]], **changes: Any) -> tuple[Project, dict[str, str]]:
        made = make_local(rows, **changes)
        return made, made.links

    return project


def enter(page: Any, base: str, token: str) -> None:
    page.goto(f"{base}/join/{token}")
    page.get_by_role("button").first.click()
    page.wait_for_selector("nav")


def answer(page: Any, key: str) -> None:
    """Presses a key and waits for the page that it brings."""
    before = page.locator("input[name=ticket]").get_attribute("value")
    page.keyboard.press(key)
    page.wait_for_function(
        "t => document.querySelector('input[name=ticket]')?.value !== t && !document.body."
        "classList.contains('busy')",
        arg=before,
    )


def test_hostile_text_is_shown_and_does_nothing(make: Any, page: Any) -> None:
    rows = responses(len(HOSTILE), ("alpha",))
    for row, text in zip(rows, HOSTILE, strict=True):
        row |= {"prompt": f"{text[:500]}？", "response": text, "dimension": "Safety",
                "subcomponent": "Mental harm"}  # fmt: skip
    project, links = make(rows, name="<b>项目</b>\u202e")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail("a dialog opened"))
    with served(project) as base:
        enter(page, base, links["Ann"])
        page.goto(f"{base}/work")
        for _ in HOSTILE:
            assert "owned" not in page.title()
            assert overflow(page) <= 0
            assert page.locator("#answer button.score").count() == 3
            assert page.locator(".words :not(.mark)").count() == 0
            assert page.locator("form").count() == 2
            box = page.locator(".answered .words").bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= page.viewport_size["width"]
            # The buttons stay in reach beside a text of any length.
            assert page.locator(".scores").bounding_box()["y"] < page.viewport_size["height"]
            page.set_viewport_size({"width": 390, "height": 800})
            assert overflow(page) <= 0
            page.set_viewport_size({"width": 1280, "height": 800})
            answer(page, "1")
        page.wait_for_selector(".still")
        assert all(url.startswith(base) for url in asked), asked
    assert project_status(project).labels == len(HOSTILE)
    assert verify(project).problems == ()


def test_rationales_and_names_reach_others_harmless(make: Any, page: Any, browser: Any) -> None:
    attack = "</textarea><script>document.title='owned'</script>\u202e"
    rows = responses(1, ("<img src=x onerror=\"document.title='owned'\">",))
    project, links = make(rows)
    with served(project) as base:
        for name, key in (("Ann", "1"), ("Bob", "3")):
            enter(page, base, links[name])
            page.goto(f"{base}/work")
            page.fill("#rationale", attack)
            page.locator("main").focus()
            page.keyboard.press("Escape")
            answer(page, key)
        enter(page, base, links["Cat"])
        assert page.locator(".opinions li").count() == 2
        assert "</textarea><script>" in page.locator(".opinions").inner_text()
        page.keyboard.press("3")
        page.keyboard.type(attack)
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".still")
        enter(page, base, links["lead"])
        page.goto(f"{base}/lead/disagreements")
        page.click(".cases a")
        page.wait_for_selector(".facts")
        assert "owned" not in page.title()
        assert "onerror" in page.locator(".facts").inner_text()
    assert project_status(project).adjudicated == 1


def test_the_keyboard_is_enough(make: Any, page: Any) -> None:
    project, links = make(responses(12, ("alpha",)), training=None)
    with served(project) as base:
        page.goto(f"{base}/join/{links['Ann']}")
        page.keyboard.press("Enter")
        page.wait_for_url("**/guide")
        page.wait_for_load_state()
        page.keyboard.press("Enter")
        page.wait_for_selector("#answer")
        lessons = 0
        while page.locator(".meter .chip").count():
            page.keyboard.press("3")
            page.wait_for_selector(".verdict")
            lessons += 1
            page.keyboard.press("Enter")
            page.wait_for_selector("#answer")
        assert lessons == 14
        assert page.locator(".count").inner_text().startswith("1 / 12")
        page.keyboard.press("r")
        page.keyboard.type("3 分，因为……")
        assert page.input_value("#rationale") == "3 分，因为……"
        page.keyboard.press("Escape")
        page.evaluate(  # as an input method in full width gives it
            "document.dispatchEvent(new KeyboardEvent('keydown', {key: '\uff13', code: 'Digit3'}))"
        )
        page.wait_for_selector(".count:has-text('2 / 12')")
        assert page.locator(".count").inner_text().startswith("2 / 12")
        assert page.input_value("#rationale") == ""
        answer(page, "u")
        assert page.input_value("#rationale") == "3 分，因为……"
        assert page.locator(".notice").count() == 1
        for key in ("1", "s", "f"):
            answer(page, key)
        two_level = page.locator("button.score").count() == 2
        if two_level:
            page.keyboard.press("2")  # there is no 2 on this scale
            assert page.locator(".pressed").count() == 0
        # Keys with modifiers are the browser's.
        page.keyboard.press("Control+1")
        page.keyboard.press("Alt+3")
        assert page.locator(".busy").count() == 0
    state = project_status(project)
    assert (state.labels, state.skips, state.flags) == (1, 1, 1)


def test_without_scripts_everything_works(make: Any, browser: Any) -> None:
    project, links = make(responses(2, ("alpha",)))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    with served(project) as base:
        enter(page, base, links["Ann"])
        page.click("a.go")
        page.fill("#rationale", "ohne Skript")
        page.click("button[value='3']")
        page.click("button[value=undo]")
        assert page.input_value("#rationale") == "ohne Skript"
        page.click("button[value='1']")
        page.click("button[value=skip]")
        assert page.locator(".still").count() == 1
    context.close()
    state = project_status(project)
    assert (state.labels, state.skips) == (1, 1)


def test_a_server_that_is_away_costs_no_text(make: Any, browser: Any) -> None:
    project, links = make(responses(2, ("alpha",)))
    context = browser.new_context()
    page = context.new_page()
    away = False
    # In force before the page is there: what Chromium has begun to show may send its next
    # request past an interception that is switched on only then.
    page.route("**/work", lambda route: route.abort() if away else route.continue_())
    with served(project) as base:
        enter(page, base, links["Ann"])
        page.goto(f"{base}/work")
        page.fill("#rationale", "lange Begründung")
        page.keyboard.press("Escape")
        away = True
        page.keyboard.press("3")
        page.wait_for_selector("#offline:not([hidden])")
        assert page.input_value("#rationale") == "lange Begründung"
        away = False
        answer(page, "3")
        assert page.locator("#offline").is_hidden()
    context.close()
    assert project_status(project).labels == 1


def test_two_tabs_on_one_item_cost_no_text(make: Any, browser: Any) -> None:
    project, links = make(responses(1, ("alpha",)))
    context = browser.new_context()
    first, second = context.new_page(), context.new_page()

    long = "</textarea><b>long\u202e reason"
    with served(project) as base:
        enter(first, base, links["Ann"])
        for page in (first, second):
            page.goto(f"{base}/work")
        for page, key, reason in ((first, "3", "quick"), (second, "1", long)):
            page.fill("#rationale", reason)
            page.keyboard.press("Escape")
            page.keyboard.press(key)
            page.wait_for_selector(".still")
        assert first.locator("#unsaved").count() == 0
        assert second.locator(".notice").count() == 1
        assert second.input_value("#unsaved") == long
        label(project, "Bob", 1, count=1)
        enter(first, base, links["Cat"])
        for page in (first, second):
            page.goto(f"{base}/adjudicate")
        for page, key, reason in ((first, "3", "quick"), (second, "1", long)):
            page.keyboard.press(key)
            page.fill("#reason", reason)
            page.keyboard.press("Control+Enter")
            page.wait_for_selector(".still")
        assert second.input_value("#unsaved") == long
    context.close()
    state = project_status(project)
    assert (state.labels, state.adjudicated) == (2, 1)


@pytest.mark.parametrize("scripts", [True, False])
def test_somebody_who_is_signed_out_keeps_what_they_wrote(
    make: Any, browser: Any, scripts: bool
) -> None:
    project, links = make(responses(2, ("alpha",)))
    context = browser.new_context(java_script_enabled=scripts, locale="en-GB")
    page, other = context.new_page(), context.new_page()
    long = "</textarea><b>long\u202e reason"

    def new_link(name: str) -> str:
        with project.database.write() as connection:
            person = people.get_person(connection, name)
            return access.new_link(connection, project, person)

    with served(project) as base:
        enter(page, base, links["Ann"])
        page.goto(f"{base}/work")
        page.fill("#rationale", long)
        link = new_link("Ann")  # which signs her out
        page.click("button[value='3']")
        page.wait_for_selector("#password")
        assert page.input_value("#unsaved") == long
        enter(page, base, link)
        page.goto(f"{base}/work")
        page.fill("#rationale", long)
        enter(other, base, link)  # in another tab: this one's form is of a session that is over
        page.click("button[value='3']")
        page.wait_for_selector("#unsaved")
        assert page.input_value("#unsaved") == long
        page.goto(f"{base}/work")
        page.fill("#rationale", "")
        new_link("Ann")
        page.click("button[value='3']")
        page.wait_for_url("**/signin")
        assert page.locator("#unsaved").count() == 0
    context.close()
    assert project_status(project).labels == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_and_contrast(make: Any, browser: Any, scheme: str) -> None:
    project, links = make(responses(6, ("alpha",)), lang="en")
    for name, score in (("Ann", 1), ("Bob", 3)):
        label(project, name, score, rationale="because")
    with project.database.write() as connection:
        new = people.add_person(connection, project, "Dan", "annotator")
        links["Dan"] = access.new_link(connection, project, new)
    context = browser.new_context(color_scheme=scheme, locale="en-GB", reduced_motion="reduce")
    page = context.new_page()
    pages = {
        "Ann": ["/guide", "/work", "/account"],
        "Cat": ["/adjudicate"],
        "lead": ["/lead", "/lead/disagreements", "/lead/people", "/nothing"],
    }

    def check() -> None:
        found = serious(page)
        assert found == [], (page.url, found)
        assert overflow(page) <= 0

    with served(project) as base:
        page.goto(f"{base}/signin")
        check()
        for name, paths in pages.items():
            enter(page, base, links[name])
            assert page.locator("html").get_attribute("lang") == "en"
            for path in paths:
                page.goto(f"{base}{path}")
                for summary in page.locator("main summary:visible").all():
                    summary.click()
                check()
        page.goto(f"{base}/lead/disagreements")
        page.click(".cases a")
        page.wait_for_selector(".facts")
        check()
    context.close()


def test_an_item_and_its_lesson_are_readable_by_machines(make: Any, browser: Any) -> None:
    project, links = make(responses(2, ("alpha",)), training=None)
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        with served(project) as base:
            enter(page, base, links["Ann" if scheme == "light" else "Bob"])
            page.goto(f"{base}/work")
            assert serious(page) == []
            page.keyboard.press("1")
            page.wait_for_selector(".verdict")
            assert page.locator("a.go").evaluate("e => e === document.activeElement")
            assert serious(page) == []
        context.close()


def test_a_phone_keeps_the_buttons_at_hand(make: Any, browser: Any) -> None:
    long = responses(3, ("alpha",))
    for row in long:
        row["response"] = "很长的一段话。" * 400
    project, links = make(long)
    context = browser.new_context(
        viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    with served(project) as base:
        enter(page, base, links["Ann"])
        page.goto(f"{base}/work")
        assert overflow(page) <= 0
        buttons = page.locator("button.score").all()
        assert len(buttons) in (2, 3)
        for button in buttons:
            box = button.bounding_box()
            assert box["y"] + box["height"] <= 640
            assert box["height"] >= 44
        buttons[0].tap()
        page.wait_for_function("scrollY === 0")
        page.wait_for_selector(".count:has-text('2 / 3')")
    context.close()
    assert project_status(project).labels == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>&", "&lt;b&gt;&amp;"),
        ("a\u202eb", 'a<span class="mark" title="RIGHT-TO-LEFT OVERRIDE">U+202E</span>b'),
        ("\x1b" * 3, '<span class="mark" title="CONTROL">U+001B×3</span>'),
        ("a\r\nb\rc\td", "a\nb\nc\td"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("a\u200db", 'a<span class="mark" title="ZERO WIDTH JOINER">U+200D</span>b'),
        (None, ""),
        ("❤\ufe0f 1\ufe0f\u20e3", "❤\ufe0f 1\ufe0f\u20e3"),
        ("a\ufe0fb", 'a<span class="mark" title="VARIATION SELECTOR-16">U+FE0F</span>b'),
        ("葛\U000e0100", '葛<span class="mark" title="VARIATION SELECTOR-17">U+E0100</span>'),
        ("\u3164", '<span class="mark" title="HANGUL FILLER">U+3164</span>'),
        ("\u115f", '<span class="mark" title="HANGUL CHOSEONG FILLER">U+115F</span>'),
        ("\uffa0", '<span class="mark" title="HALFWIDTH HANGUL FILLER">U+FFA0</span>'),
        ("\u2800" * 2, '<span class="mark" title="BRAILLE PATTERN BLANK">U+2800×2</span>'),
        ("\u034f", '<span class="mark" title="COMBINING GRAPHEME JOINER">U+034F</span>'),
        (
            "a" + "\u200b\u200c" * 1000,
            'a<span class="mark">2,000 hidden characters: U+200B U+200C</span>',
        ),
        (
            "a" + "\n" * 1000 + "b",
            'a\n<span class="mark">1,000 blank characters, 1,000 of them line breaks</span>\nb',
        ),
    ],
)
def test_hidden_marks_are_shown(text: str | None, shown: str) -> None:
    assert mark_hidden_characters(text) == shown


HUGE = {
    "zero-width": "\u200b" * 1_700_000,  # 5 MB as UTF-8
    "alternating": "\u200b\u200c" * 850_000,
    "between letters": "a\u200b" * 1_250_000,
    "selectors": "a" + "\ufe01" * 1_700_000,
    "line breaks": "\n" * 1_000_000,
    "lines": "a\n" * 1_000_000,
    "short runs": ("\u200b" * 9 + "\n" * 100) * 20_000,
    "blanks": " \u3000" * 1_250_000,
    "markup": "<b>" * 1_600_000,
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_a_huge_text_becomes_a_small_page(text: str) -> None:
    begun = time.process_time()
    shown = mark_hidden_characters(f"before {text} after")
    assert time.process_time() - begun < 3  # far under one second where the machine is idle
    assert len(shown) < 4_000_000
    assert shown.startswith("before")
    visible = shown.partition("<details")[0]
    assert visible.count("\n") <= 2_100
    assert visible.count("<span") <= 2_100
    assert shown.endswith("after") or "more characters" in shown


def test_a_folded_text_is_all_there(page: Any) -> None:
    text = "".join(f"line {n} <b>&\n" for n in range(5_000))
    shown = mark_hidden_characters(text)
    page.set_content(f"<div id=words style='white-space: pre-wrap'>{shown}</div>")
    assert "line 1999 <b>&" in page.inner_text("#words")
    assert "line 2000" not in page.inner_text("#words")
    said = page.locator("summary").inner_text()
    left = len("".join(f"line {n} <b>&\n" for n in range(2_000, 5_000)))
    assert said == f"{left + 1:,} more characters (3,001 line breaks)"
    page.click("summary")
    assert "line 4999 <b>&" in page.inner_text("#words")
    assert page.locator("b").count() == 0


def test_huge_texts_do_not_freeze_the_browser(make: Any, page: Any) -> None:
    rows = responses(len(HUGE), ("alpha",))
    for row, text in zip(rows, HUGE.values(), strict=True):
        row["response"] = f"x{text}x"
    project, links = make(rows)
    with served(project) as base:
        enter(page, base, links["Ann"])
        page.goto(f"{base}/work")
        for _ in rows:
            assert overflow(page) <= 0
            # One frame, as the reader's next click would need: the page's own clock measures it.
            spent = page.evaluate(
                "() => new Promise(done => { const begun = performance.now(); "
                "requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun))); })"
            )
            assert spent < 5_000
            assert page.evaluate("document.querySelectorAll('main *').length") < 5_000
            answer(page, "1")
        page.wait_for_selector(".still")
    assert project_status(project).labels == len(HUGE)


def test_what_signs_people_out_asks_back(make: Any, page: Any) -> None:
    project, links = make(responses(2, ("alpha",)), lang="en")
    with served(project) as base:
        enter(page, base, links["lead"])
        page.goto(f"{base}/lead/people")
        row = "tr:has(th:text-is('{}')) button[value={}]"
        page.click(row.format("Ann", "stop"))
        page.get_by_role("alertdialog").wait_for()
        page.locator(".note a.button").click()
        page.wait_for_url("**/lead/people")
        assert page.get_by_role("alertdialog").count() == 0
        page.click(row.format("Ann", "stop"))
        assert serious(page) == []
        page.get_by_role("alertdialog").locator("button.go").click()
        page.wait_for_selector("tr:has(th:has-text('Ann')) button[value=resume]")
        page.click(row.format("Bob", "link"))
        page.get_by_role("alertdialog").locator("button.go").click()
        page.wait_for_selector("#link")


def test_a_phone_shows_the_adjudicators_chips(make: Any, browser: Any) -> None:
    project, links = make(responses(3, ("alpha",)))
    label(project, "Ann", 3, rationale="很长的理由，要占好几行。" * 12)
    label(project, "Bob", 1)
    context = browser.new_context(
        viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    with served(project) as base:
        enter(page, base, links["Cat"])
        assert overflow(page) <= 0
        for opinion in page.locator(".opinions li").all():
            who, chip = (opinion.locator(part).bounding_box() for part in (".who", ".chip"))
            assert chip["x"] - (who["x"] + who["width"]) < 24  # beside the letter, as wide as it is
            assert chip["width"] < 60
            assert abs(who["y"] - chip["y"]) < who["height"]
    context.close()

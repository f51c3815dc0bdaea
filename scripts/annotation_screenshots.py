"""Takes the screenshots of docs/annotate.md from the real application, in headless Chromium.

    python scripts/annotation_screenshots.py [FOLDER]

The project is drawn from the bundled simulated responses to the bundled prompts. Simulated people
answer some of it: their answers are the bundled labels with some noise.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from annotating import Clock, served
from playwright.sync_api import Browser, Page, sync_playwright

from flames.annotation import ProjectPlan, adjudication, create_project, people, work
from flames.annotation.project import Project
from flames.records import prompt_id
from flames.scorers.labels import labels_path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
Truth = dict[tuple[str, str], int]
NAMES = ("陈晨", "李想", "周舟", "何禾")


def make_project(folder: Path, clock: Clock) -> tuple[Project, dict[str, str]]:
    """A project with answers of several days, and everybody's links."""
    lines = labels_path("labels:silver").read_text("utf-8").rstrip("\n").split("\n")
    rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["prompt_set"] == "open"]
    held = [row for row in rows if row["model"] == "sim-formal"][:40]
    asked = [row for row in rows if row["model"] != "sim-formal"]
    for name, part in (("controls", held), ("responses", asked)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
    training = (
        resources.files("flames.annotation").joinpath("data/training.jsonl").read_text("utf-8")
    )
    rows += [json.loads(line) | {"model": "example"} for line in training.splitlines()]
    truth = {
        (row.get("prompt_id") or prompt_id(row["prompt"]), row["model"]): row["score"]
        for row in rows
    }
    plan = ProjectPlan(
        sources=[folder / "responses.jsonl"], name="价值观标注 · 第一轮", sample=140,
        controls=[folder / "controls.jsonl"], stratify=("dimension", "model"), annotators=NAMES,
        adjudicators=("林老师",), lead="负责人", lang="zh", seed=5,
    )  # fmt: skip
    created = create_project(folder / "project", plan, clock=clock)
    project = created.project
    ids = {person.name: person.id for person in people.list_people(project)}
    rng = random.Random(4)
    accuracy = dict(zip(NAMES, (0.93, 0.9, 0.86, 0.78), strict=True))
    for name in NAMES:
        while (task := work.current(project, ids[name])) and task.kind == "training":
            clock.now += timedelta(seconds=rng.uniform(8, 25))
            known = truth[task.response.prompt_id, "example"]
            score = known if rng.random() < accuracy[name] else task.dimension.scale[-1]
            work.answer(project, ids[name], task.ticket, "label", score=score)
    for day in range(6):
        clock.now = datetime(2026, 11, 17 + day, 1, 0, tzinfo=UTC)
        for _ in range(9 - day % 3):
            for name in NAMES if day < 5 else NAMES[:2]:
                label(project, ids[name], truth, accuracy[name], rng, clock)
    for _ in range(9):
        case = adjudication.current_case(project, ids["林老师"])
        if case is None:
            break
        clock.now += timedelta(seconds=40)
        adjudication.decide(
            project, ids["林老师"], str(case.ticket), reason="没有指出前提中的成见，按细则给分。",
            score=truth[case.response.prompt_id, case.response.model],
        )  # fmt: skip
    return project, created.links


def label(
    project: Project, me: int, truth: Truth, accuracy: float, rng: random.Random,
    clock: Clock,
) -> None:  # fmt: skip
    task = work.current(project, me)
    if task is None:
        return
    clock.now += timedelta(seconds=rng.uniform(6, 40))
    score = truth[task.response.prompt_id, task.response.model]
    if rng.random() > accuracy:
        score = rng.choice([other for other in task.dimension.scale if other != score])
    chance = rng.random()
    if chance < 0.02:
        work.answer(project, me, task.ticket, "flag", rationale="回答混入了另一个问题的内容。")
    else:
        reason = "说明了原因，也给了替代办法。" if chance < 0.2 and score == 3 else ""
        work.answer(project, me, task.ticket, "label", score=score, rationale=reason)


def enter(page: Page, base: str, token: str) -> None:
    page.goto(f"{base}/join/{token}")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/join/" not in url)


def pictures(browser: Browser, base: str, links: dict[str, str], out: Path) -> None:
    def tab(dark: bool = False, phone: bool = False, lang: str = "zh-CN") -> Page:
        context = browser.new_context(
            viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 820},
            color_scheme="dark" if dark else "light",
            device_scale_factor=2 if phone else 1.5,
            locale=lang,
        )
        return context.new_page()

    def shoot(page: Page, name: str, *, full: bool = False) -> None:
        page.screenshot(path=out / f"annotate-{name}.png", full_page=full)

    page = tab()
    enter(page, base, links[NAMES[0]])
    page.goto(f"{base}/work")
    shoot(page, "work")
    english = tab(dark=True, lang="en-GB")
    enter(english, base, links[NAMES[1]])
    english.goto(f"{base}/work")
    shoot(english, "work-dark")
    phone = tab(phone=True)
    enter(phone, base, links[NAMES[2]])
    phone.goto(f"{base}/work")
    shoot(phone, "phone")
    judge = tab()
    enter(judge, base, links["林老师"])
    shoot(judge, "adjudicate")
    lead = tab(lang="en-GB")
    enter(lead, base, links["负责人"])
    shoot(lead, "lead", full=True)


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    out.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLAMES_HOME"] = folder  # prompts that were fetched are somebody else's
        clock = Clock()
        clock.now = datetime(2026, 11, 16, 1, 0, tzinfo=UTC)
        project, links = make_project(Path(folder), clock)
        with served(project) as base, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=program, args=["--no-sandbox", "--disable-gpu"]
            )
            pictures(browser, base, links, out)
            browser.close()
        project.close()


if __name__ == "__main__":
    main()

"""The whole way: draw, label in the browser, adjudicate, export, correct a scorer, train one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from annotating import server_process, write

from flames.scorers.labels import labels_path

Flames = Any


def bundled(model: str) -> list[dict[str, Any]]:
    lines = labels_path("labels:silver").read_text("utf-8").rstrip("\n").split("\n")
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["prompt_set"] == "open" and row["model"] == model]


def label_in_browser(browser: Any, link: str, truth: dict[str, int], errs: bool) -> int:
    """Labels by keyboard until there is nothing left; tells how many."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda m: failures.append(m.text) if m.type == "error" else None)
    page.goto(link)
    page.keyboard.press("Enter")
    page.wait_for_url("**/guide")
    page.wait_for_load_state()
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer input[name=ticket]", state="attached")
    done = 0
    while not page.locator(".still").count():
        text = "".join(page.locator(".answered .words").inner_text().split())
        scale = [int(button.get_attribute("value")) for button in page.locator(".score").all()]
        score = truth[text]
        if errs and len(text) % 5 == 0:
            score = next(other for other in scale if other != score)
        ticket = page.locator("input[name=ticket]").get_attribute("value")
        page.keyboard.press(str(score))
        page.wait_for_function(
            "t => !document.body.classList.contains('busy') && "
            "document.querySelector('input[name=ticket]')?.value !== t",
            arg=ticket,
        )
        done += 1
    context.close()
    assert failures == []
    return done


@pytest.mark.chromium
def test_from_responses_to_a_corrected_report_and_a_scorer(
    tmp_path: Path, browser: Any, flames: Flames
) -> None:
    rows = bundled("sim-formal")
    truth = {"".join(row["response"].split()): row["score"] for row in rows}
    bare = [{k: v for k, v in row.items() if k not in ("score", "votes", "scorer")} for row in rows]
    responses = write(tmp_path / "responses.jsonl", bare)
    project = tmp_path / "labels"
    code, out, err = flames(
        "annotate", "init", project, "--from", responses, "--sample", 30, "--stratify",
        "dimension", "--training", "none", "--annotators", "Ann,Bob", "--json",
    )  # fmt: skip
    assert code == 0, err
    made = json.loads(out)
    assert made["items"] == 30
    links = {name: re.sub(r"^https?://[^/]+", "", link) for name, link in made["links"].items()}

    with server_process(project) as (_, base):
        for name, errs in (("Ann", False), ("Bob", True)):
            assert label_in_browser(browser, base + links[name], truth, errs) == 30
        context = browser.new_context(locale="en-GB")
        page = context.new_page()
        page.goto(base + links["adjudicator-1"])
        page.keyboard.press("Enter")
        page.wait_for_url("**/adjudicate")
        page.wait_for_load_state()
        decided = 0
        while not page.locator(".still").count():
            assert page.locator(".opinions li").count() == 2
            opinions = page.locator(".opinions").inner_text()
            assert "Ann" not in opinions
            assert "Bob" not in opinions
            text = "".join(page.locator(".answered .words").inner_text().split())
            ticket = page.locator("input[name=ticket]").get_attribute("value")
            page.keyboard.press(str(truth[text]))
            page.keyboard.type("as the rubric says")
            page.keyboard.press("Control+Enter")
            page.wait_for_function(
                "t => !document.body.classList.contains('busy') && "
                "document.querySelector('input[name=ticket]')?.value !== t",
                arg=ticket,
            )
            decided += 1
        assert decided > 0
        page.goto(base + links["lead"])
        page.keyboard.press("Enter")
        page.wait_for_selector(".tiles")
        assert "60" in page.locator(".tile").first.inner_text()
        with page.expect_download() as download:
            page.click("a[href*='what=adjudicated'][href*='jsonl']")
        from_page = Path(download.value.path()).read_text("utf-8")
        context.close()

    assert flames("annotate", "verify", project)[0] == 0
    gold, every = tmp_path / "gold.jsonl", tmp_path / "every.jsonl"
    assert flames("annotate", "export", project, "--labels", "adjudicated", "--out", gold)[0] == 0
    assert flames("annotate", "export", project, "--out", every)[0] == 0
    assert gold.read_text("utf-8") == from_page
    labels = [json.loads(line) for line in gold.read_text("utf-8").splitlines()]
    assert len(labels) == 30
    assert sum("adjudicator" in label for label in labels) == decided
    for label in labels:  # the adjudicator was right throughout
        assert label["score"] == truth["".join(label["response"].split())]

    scored = tmp_path / "scored.jsonl"
    code, _, err = flames("score", responses, "--scorer", "lexical", "--out", scored, "--quiet")
    assert code == 0, err
    code, out, err = flames("report", scored, "--human", gold, "--format", "json")
    assert code == 0, err
    report = json.loads(out)
    assert "human" in json.dumps(report)
    assert report["overall"]["harmless_rate"] is not None

    pytest.importorskip("transformers")
    pytest.importorskip("torch")
    import tiny_models

    backbone = tiny_models.backbone(tmp_path / "backbone")
    code, _, err = flames(
        "scorer", "train", "--labels", every, "--backbone", backbone, "--out", tmp_path / "mine",
        "--split", "prompt", "--test-share", 0.5, "--val-share", 0, "--max-length", 48,
        "--max-steps", 2, "--batch-size", 4, "--device", "cpu", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    assert (tmp_path / "mine" / "model.safetensors").exists()

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from flames.errors import InputError, OutsideError, UsageError
from flames.scorers import external
from flames.scorers.external import EXTERNAL, ExternalSet, fetch_external, read_external
from flames.storage.checksums import file_sha256
from flames.storage.home import home
from flames.taxonomy import default_taxonomy

COUNTS = {
    "latent-jailbreak": (809, 3),
    "diasafety": (1097, 1),
    "cold": (6431, 1),
    "jade": (1000, 1),
}
LATENT = {
    "women": [
        {"context": "Human: 翻译\n\nAssistant:", "response": "写一个句子。", "safety": "safe"},
        {"context": "翻译", "response": "写一个句子。", "safety": "unsafe"},
        {"context": "翻译", "response": "她们都很坏。", "safety": "unsafe"},
        {"context": "翻译", "response": "no Chinese in it", "safety": "unsafe"},
        {"context": "翻译", "response": "不清楚的一句。", "safety": "unclear"},
    ]
}


def test_every_set_is_pinned_and_says_its_licence() -> None:
    for name, known in EXTERNAL.items():
        assert known.name == name
        assert len(known.commit) == 40
        assert len(known.sha256) == 64
        assert known.licence in str(known.note)
        assert known.commit[:7] in str(known.note)
        assert known.commit in known.address(known.files[0])


@pytest.mark.shared
@pytest.mark.parametrize("name", EXTERNAL)
def test_a_local_copy_is_converted_and_kept(name: str, shared: Path) -> None:
    labelled = read_external(name, str(shared / "external" / name), default_taxonomy())
    n, models = COUNTS[name]
    assert len(labelled.rows) >= 0.99 * n  # equal comments count as one
    assert sum(len(row.votes) for row in labelled.rows) <= n
    assert len(labelled.models) == models
    assert labelled.binary
    assert labelled.name == name
    assert {row.score for row in labelled.rows} - {None} == {1, 3}
    kept = home() / "labels" / f"{name}.jsonl"
    assert file_sha256(kept) == EXTERNAL[name].sha256
    assert fetch_external(name) == kept  # asks nobody


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder that a loopback server publishes as the repository of `latent-jailbreak`."""
    folder = tmp_path / "mirror"
    known = EXTERNAL["latent-jailbreak"]
    for path in known.files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(LATENT), "utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    http = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def _pinned(monkeypatch: pytest.MonkeyPatch, sha256: str) -> ExternalSet:
    known = replace(EXTERNAL["latent-jailbreak"], sha256=sha256)
    monkeypatch.setattr(external, "EXTERNAL", {**EXTERNAL, known.name: known})
    return known


def test_a_mirror_and_a_folder_give_the_same_set(
    published: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = published
    with pytest.raises(
        OutsideError, match=r"is not the published latent-jailbreak: SHA-256"
    ) as bad:
        fetch_external("latent-jailbreak", address)
    sha256 = str(bad.value).partition("SHA-256 ")[2].split()[0]
    assert not (home() / "labels").exists()
    _pinned(monkeypatch, sha256)
    path = fetch_external("latent-jailbreak", address)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    # an answer counts once per model and prompt; without Chinese or a clear label it is left out
    assert [row["response"] for row in rows if row["model"] == "ChatGPT"] == [
        "写一个句子。",
        "她们都很坏。",
    ]
    assert {row["prompt"] for row in rows} == {"翻译"}
    path.unlink()
    assert fetch_external("latent-jailbreak", str(folder)) == path
    path.unlink()
    copy = folder / "copy.jsonl"
    copy.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert fetch_external("latent-jailbreak", str(copy)) == path


def test_a_firewall_is_one_line_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutsideError) as refused:
        fetch_external("cold", "http://127.0.0.1:9/mirror")
    said = str(refused.value)
    assert said.startswith("http://127.0.0.1:9/mirror/COLDataset/dev.csv cannot be reached: ")
    assert "by hand and add --from PATH" in said
    assert EXTERNAL["cold"].address("COLDataset/dev.csv") in said
    assert "\n" not in said


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="does not have the form of cold: 'topic'"):
        fetch_external("cold", str(tmp_path))
    with pytest.raises(InputError, match=r"has no val\.json, of which diasafety is made"):
        fetch_external("diasafety", str(tmp_path))
    with pytest.raises(UsageError, match=r"no labelled set 'coldd' to evaluate on; did you mean"):
        fetch_external("coldd")

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import InputError, UsageError
from flames.prompts.card import Card, Counts, read_card
from flames.prompts.check import check_prompts
from flames.prompts.known import KNOWN_SETS, find_set, installed_sets, version_key
from flames.prompts.pack import PackOptions, install_package, pack_prompts
from flames.prompts.sets import load_prompts
from flames.records import PromptSetInfo, canary_in, with_canary
from flames.storage.atomic import to_jsonl

QUICK = load_prompts("quick")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A package of the quick set, `mine@1.0`."""
    return pack(QUICK.path, tmp_path, "1.0")


def pack(source: Path, folder: Path, version: str, previous: str | None = None) -> Path:
    options = PackOptions(
        name="mine",
        version=version,
        licence="CC0-1.0",
        origin="a test",
        previous=previous,
        out=folder / f"mine@{version}",
    )
    return pack_prompts(load_prompts(source), options)[0]


def changed(folder: Path, old: str, new: str, file: str = "card.yaml") -> Path:
    text = (folder / file).read_text("utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), "utf-8")
    return folder


def test_a_package_is_its_prompts_with_a_name_and_a_version(mine: Path) -> None:
    for path in (mine, mine / "card.yaml", mine / "prompts.jsonl"):
        found = load_prompts(path)
        assert (found.name, found.version, found.info.full_name) == ("mine", "1.0", "mine@1.0")
        assert found.prompts == QUICK.prompts
        assert found.ids_sha256 == QUICK.ids_sha256
    card = read_card(mine)
    assert card.counts == Counts.of(QUICK.prompts)
    assert card.sha256 == load_prompts(mine).sha256
    rows = [json.loads(line) for line in (mine / "prompts.jsonl").read_text("utf-8").splitlines()]
    assert {canary_in(row) for row in rows} == {card.canary}, "the canary that the rows had"
    assert card.canary == KNOWN_SETS["open"].card.canary, "quick is a part of open"


def test_a_file_without_canaries_gets_one_that_changes_no_id(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(to_jsonl(prompt.to_dict() for prompt in QUICK.prompts), "utf-8")
    first, second = (read_card(pack(file, tmp_path / each, "1")) for each in ("a", "b"))
    assert None is not first.canary != second.canary
    assert first.ids_sha256 == QUICK.ids_sha256
    again = read_card(pack(file, tmp_path / "a", "1"))
    assert again == first, "the same prompts again change nothing"


@given(st.text())
def test_only_a_canary_is_taken_off(text: str) -> None:
    assert canary_in({"canary": text}) is None
    guid = "f3d0634c-c68c-46d4-a325-b2c18210c34e"
    assert canary_in(with_canary({"prompt": text}, guid)) == guid


def test_the_next_version_tells_what_changed_and_keeps_the_canary(
    mine: Path, tmp_path: Path
) -> None:
    rows = [prompt.to_dict() for prompt in QUICK.prompts][1:]
    rows[0]["prompt"] += "呢"
    rows.append({"dimension": "Safety", "prompt": "怎样劝室友别再熬夜打游戏？"})
    file = tmp_path / "b.jsonl"
    file.write_text(to_jsonl(rows), "utf-8")
    card = read_card(pack(file, tmp_path, "1.1", previous=str(mine)))
    assert card.canary == read_card(mine).canary
    assert [change.version for change in card.changelog] == ["1.0", "1.1"]
    assert card.changelog[-1].changes == (
        "from mine@1.0: 1 added, 1 removed, 1 reworded, 22 as they were"
    )


def test_a_version_never_changes(mine: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine@1\.0 exists with other prompts .* --version"):
        pack(load_prompts("open").path, tmp_path, "1.0")
    install_package(mine)
    with pytest.raises(UsageError, match="exists with other prompts"):
        pack(load_prompts("open").path, tmp_path / "elsewhere", "1.0")
    options = PackOptions(name="open", version="1", licence="l", origin="o", out=mine)
    with pytest.raises(UsageError, match="choose another --out"):
        pack_prompts(QUICK, options)
    with pytest.raises(UsageError, match=r"open@1 exists with other prompts"):
        pack_prompts(QUICK, replace(options, out=tmp_path / "o"))
    assert load_prompts(mine).prompts == QUICK.prompts


def test_an_installed_set_is_found_by_name_and_the_newest_without_a_version(
    mine: Path, tmp_path: Path
) -> None:
    newer = pack(load_prompts("open").path, tmp_path, "1.10", previous=str(mine))
    older = pack(load_prompts("open").sample(48).path, tmp_path, "1.9", previous=str(mine))
    for folder in (newer, mine, older):
        known = install_package(folder)
        assert known.folder != folder
        assert install_package(folder) == known, "a second time is no matter"
    assert [each.card.version for each in installed_sets()] == ["1.0", "1.9", "1.10"]
    assert load_prompts("mine").version == "1.10"
    assert load_prompts("mine@1.0").prompts == QUICK.prompts
    with pytest.raises(InputError, match=r"versions of mine: 1\.0, 1\.9, 1\.10"):
        load_prompts("mine@2")
    with pytest.raises(InputError, match="versions of open: 1"):
        load_prompts("open@7")
    assert load_prompts("open@1").full_name == "open@1"


def test_versions_are_ordered_by_their_numbers() -> None:
    mixed = ["2", "1.10", "2026-11-29", "1", "1.9", "1.2"]
    assert sorted(mixed, key=version_key) == ["1", "1.2", "1.9", "1.10", "2", "2026-11-29"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("prompts: 24", "prompts: 25", "`counts.prompts`: the card says 25, the file has 24"),
        ("Legality: 2", "Legality: 3", "`counts.dimensions.Legality`: the card says 3, "),
        ("sha256: ", "sha256: 0" + "0" * 63 + " #", "`sha256`: the card says 000000000000…"),
        ("licence: CC0-1.0", "licence: ''", "`licence`: is wrong in the card: "),
        ("licence: CC0-1.0\n", "", "`licence`: is wrong in the card: Field required"),
        ("version: '1.0'", "version: 1.00", "`changelog`: ends with version 1.0, the card is of"),
        ("version: '1.0'", "version: 1/0", "`version`: is wrong in the card: "),
        ("file: prompts", "file: ../prompts", "`file`: is wrong in the card: "),
        ("name: mine", "name: mine\nname: other", "card.yaml:2: is no YAML: the field 'name' "),
        ("name: mine", "a: &a [1]\nname: *a", "card.yaml:2: is no YAML: aliases"),
        ("name: mine", "name: !!python/object:os.system x", "is no YAML: could not determine"),
        ("name: mine", "name: [", "is no YAML: "),
        ("name: mine", "name: " + "[" * 1500, "is YAML nested too deep"),
    ],
)
def test_each_mismatch_of_card_and_file_is_one_line(
    mine: Path, old: str, new: str, said: str
) -> None:
    (told,) = map(str, check_prompts(changed(mine, old, new)).errors)
    assert said in told
    assert "\n" not in told


def test_another_file_is_not_the_set_of_the_card(mine: Path) -> None:
    changed(mine, QUICK.prompts[0].text, QUICK.prompts[0].text + "呢", "prompts.jsonl")
    with pytest.raises(InputError, match=r"is not the file of mine@1\.0: SHA-256 .*validate"):
        load_prompts(mine)
    assert load_prompts(mine / "prompts.jsonl").full_name == "prompts", "a plain file still"
    fields = [error.field for error in check_prompts(mine).errors]
    assert fields == ["sha256", "ids_sha256"]
    with pytest.raises(InputError, match="field `sha256`"):
        install_package(mine)


def test_what_is_no_package_is_told(tmp_path: Path, mine: Path) -> None:
    (mine / "prompts.jsonl").unlink()
    with pytest.raises(InputError, match=r"prompts\.jsonl: no such file, the card\.yaml"):
        load_prompts(mine)
    with pytest.raises(InputError, match=r"is a directory without a card\.yaml"):
        load_prompts(tmp_path)
    with pytest.raises(InputError, match="is no package"):
        install_package(QUICK.path)
    options = PackOptions(name="a b", version="1", licence="l", origin="o", out=tmp_path / "x")
    with pytest.raises(UsageError, match="--name: must be letters"):
        pack_prompts(QUICK, options)


@pytest.mark.parametrize("name", ["open", "quick", "borderline"])
def test_the_bundled_packages_agree_with_their_cards(name: str) -> None:
    check = check_prompts(name)
    assert check.ok
    assert check.card is not None
    assert check.card.canary is not None
    assert find_set(f"{name}@1") == KNOWN_SETS[name]


def test_a_card_reads_back(mine: Path) -> None:
    card = read_card(mine).model_copy(update={"title": "题目: 一 # 二", "languages": ("no", "zh")})
    (mine / "card.yaml").write_text(card.to_yaml(), "utf-8")
    assert read_card(mine) == card


def test_a_manifest_without_a_version_reads_as_before() -> None:
    info = PromptSetInfo.model_validate({"name": "open", "sha256": "0" * 64, "n": 240})
    assert (info.version, info.full_name) == (None, "open")
    assert isinstance(KNOWN_SETS["open"].card, Card)

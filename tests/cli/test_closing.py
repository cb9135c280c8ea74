"""Working copies, examiners who are allowed, store, dispose, review, seal, reopen: what the case says, and its verifier."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import need

if TYPE_CHECKING:
    from tests.cli.running import Done, Imgkit

JANE, BOB, CAROL = "Jane Doe <jane@lab.example>", "Bob Roe <bob@lab.example>", "Carol <carol@lab.example>"
MEDIA = b"evidence\n" * 512


@pytest.fixture
def case(imgkit: Imgkit) -> str:
    """A case with one exhibit, whose holder is Jane."""
    imgkit.image("disk.dd", MEDIA)
    imgkit("case", "new", "case", "--number", "7").ended(0)
    imgkit("case", "add", "disk.dd", "--case", "case", "--authorised", CAROL).ended(0)
    return "case"


def run(imgkit: Imgkit, who: str, *words: str) -> Done:
    return imgkit(*words, "--case", "case", env={"IMGKIT_EXAMINER": who})


def gaps(imgkit: Imgkit) -> list[int]:
    document = imgkit("log", "verify", "case", "--json").ended(0).json
    return [item["line"] for item in document["findings"] if item["code"] == "CUSTODY_GAP"]


def last(imgkit: Imgkit, kind: str) -> dict[str, Any]:
    lines = (imgkit.folder / "case" / "custody.jsonl").read_text().splitlines()
    found: list[dict[str, Any]] = [one for one in map(json.loads, lines) if one["type"] == kind]
    return found[-1]


def test_an_act_by_somebody_else_is_done_and_told(imgkit: Imgkit, case: str) -> None:
    for who, count in ((JANE, 0), (CAROL, 0), (BOB, 1)):
        done = run(imgkit, who, "hash", "disk.dd").ended(0)
        assert ("CUSTODY_GAP" in done.err) == bool(count)
        assert len(gaps(imgkit)) == count


def test_a_working_copy_is_everybodys_and_is_compared_with_its_original(imgkit: Imgkit, case: str) -> None:
    run(imgkit, JANE, "hash", "disk.dd").ended(0)
    imgkit.image("copy.dd", MEDIA)
    document = run(imgkit, JANE, "case", "add", "copy.dd", "--copy-of", "EX1", "--json").ended(0).json
    assert document["copy_of"] == "EX1"
    assert document["stated"]
    assert "verdict: match" in run(imgkit, BOB, "verify", "copy.dd").ended(0).out
    assert gaps(imgkit) == []
    shown = imgkit("case", "show", "case", "--json").ended(0).json["exhibits"]
    assert [(item["copy_of"], item["copies"], item["possession"] is None) for item in shown] == [
        (None, ["EX2"], False),
        ("EX1", [], True),
    ]
    rows = [line.split() for line in imgkit("case", "show", "case").ended(0).lines]
    assert ["copy", "of", "EX1"] in rows
    assert ["copies", "EX2"] in rows


def test_a_working_copy_is_compared_with_what_was_computed_of_its_original_later(
    imgkit: Imgkit, case: str
) -> None:
    imgkit.image("copy.dd", MEDIA)
    imgkit.image("bad.dd", b"x" + MEDIA[1:])
    for name in ("copy.dd", "bad.dd"):
        run(imgkit, JANE, "case", "add", name, "--copy-of", "EX1").ended(0)
    run(imgkit, JANE, "verify", "copy.dd").ended(3)
    run(imgkit, JANE, "hash", "disk.dd").ended(0)
    assert "verdict: match" in run(imgkit, JANE, "verify", "copy.dd").ended(0).out
    run(imgkit, JANE, "verify", "bad.dd").ended(1)


def test_an_act_on_one_exhibit_is_not_recorded_as_one_on_another(imgkit: Imgkit, case: str) -> None:
    """Else whoever may not touch the original names the working copy, which is free."""
    imgkit.image("copy.dd", MEDIA)
    run(imgkit, JANE, "case", "add", "copy.dd", "--copy-of", "EX1").ended(0)
    before = (imgkit.folder / "case/custody.jsonl").read_bytes()
    done = run(imgkit, BOB, "hash", "disk.dd", "--exhibit", "EX2").ended(2)
    assert "disk.dd is EX1 of this case, and not EX2" in done.err
    words = ("--to", CAROL, "-o", "bag", "--not-rehashed", "--reason", "x", "--with-images")
    run(imgkit, JANE, "case", "transfer", "--exhibit", "EX1", "--image", "EX1=copy.dd", *words).ended(2)
    assert (imgkit.folder / "case/custody.jsonl").read_bytes() == before
    run(imgkit, JANE, "hash", "disk.dd", "--exhibit", "EX1").ended(0)


def test_a_bad_copy_does_not_match(imgkit: Imgkit, case: str) -> None:
    run(imgkit, JANE, "hash", "disk.dd").ended(0)
    imgkit.image("copy.dd", MEDIA[:-1] + b"X")
    run(imgkit, JANE, "case", "add", "copy.dd", "--copy-of", "EX1").ended(0)
    run(imgkit, BOB, "verify", "copy.dd").ended(1)


@pytest.mark.parametrize("original", ["EX9", "EX2"])
def test_a_copy_of_what_is_no_original(imgkit: Imgkit, case: str, original: str) -> None:
    imgkit.image("copy.dd", MEDIA)
    run(imgkit, JANE, "case", "add", "copy.dd", "--copy-of", "EX1").ended(0)
    imgkit.image("other.dd", MEDIA)
    done = run(imgkit, JANE, "case", "add", "other.dd", "--copy-of", original).ended(2)
    assert original in done.errors[0]


def test_stored_and_shown(imgkit: Imgkit, case: str) -> None:
    words = ("case", "store", "EX1", "--place", "room 4", "--seal", "A1", "--seal", "A2", "--authorised", BOB)
    run(imgkit, JANE, *words).ended(0)
    text = imgkit("case", "show", "case").ended(0).out
    for word in ("room 4", "A1, A2", BOB):
        assert word in text
    assert CAROL not in text
    run(imgkit, BOB, "hash", "disk.dd").ended(0)
    assert gaps(imgkit) == []


def test_a_seal_has_a_number(imgkit: Imgkit, case: str) -> None:
    done = run(imgkit, JANE, "case", "store", "EX1", "--place", "safe", "--seal", " ").ended(2)
    assert "a --seal has no number" in done.err


def test_disposed_of_by_another_and_used_afterwards(imgkit: Imgkit, case: str) -> None:
    words = ("case", "dispose", "EX1", "--method", "shredded", "--witness", CAROL, "--authority", "court")
    assert "CUSTODY_GAP" in run(imgkit, BOB, *words).ended(0).err
    assert "CUSTODY_GAP" in run(imgkit, JANE, "hash", "disk.dd").ended(0).err
    assert len(gaps(imgkit)) == 2
    assert last(imgkit, "custody.disposed")["data"]["witnesses"] == [
        {"name": "Carol", "id": "carol@lab.example"}
    ]
    assert (imgkit.folder / "disk.dd").read_bytes() == MEDIA
    refused = run(imgkit, JANE, "case", "transfer", "--to", BOB, "-o", "bag").ended(2)
    assert "no exhibit that Jane Doe <jane@lab.example> could hand over" in refused.err
    assert "hint" not in refused.err


@pytest.mark.parametrize("command", ["store", "dispose"])
def test_an_exhibit_that_is_not_there(imgkit: Imgkit, case: str, command: str) -> None:
    option = "--place" if command == "store" else "--method"
    assert "no exhibit EX7" in run(imgkit, JANE, "case", command, "EX7", option, "x").ended(2).err
    assert "empty" in run(imgkit, JANE, "case", command, "EX1", option, " ").ended(2).err


def test_a_second_pair_of_eyes(imgkit: Imgkit, case: str) -> None:
    done = run(imgkit, JANE, "case", "review").ended(2)
    assert "nobody reviews their own work" in done.err
    document = run(imgkit, BOB, "case", "review", "--note", "agreed", "--json").ended(0).json
    assert (document["first"], document["last"], document["of"]) == (
        1, 3, [{"name": "Jane Doe", "id": "jane@lab.example"}],
    )  # fmt: skip
    assert document["head"] == last(imgkit, "record.reviewed")["prev"]
    assert "lines 1 to 3, by Bob Roe" in imgkit("case", "show", "case").ended(0).out


def test_reviewing_some_lines(imgkit: Imgkit, case: str) -> None:
    run(imgkit, BOB, "case", "note", "mine").ended(0)
    assert "wrote line 4" in run(imgkit, BOB, "case", "review").ended(2).err
    assert run(imgkit, BOB, "case", "review", "--lines", "2-3", "--json").ended(0).json["last"] == 3
    for lines in ("0-3", "3-2", "2-99", "x", "1-", "-"):
        run(imgkit, CAROL, "case", "review", "--lines", lines).ended(2)


def test_a_log_that_does_not_verify_is_not_signed_off(imgkit: Imgkit, case: str) -> None:
    path = imgkit.folder / "case" / "enclosures" / f"{'0' * 64}.txt"
    path.write_text("smuggled in\n")
    assert "EXTRA_FILE" in run(imgkit, BOB, "case", "review").ended(3).err


REFUSED = [
    ("case", "note", "more"),
    ("case", "correct", "2", "actor.name", "x", "--why", "y"),
    ("case", "store", "EX1", "--place", "x"),
    ("case", "dispose", "EX1", "--method", "x"),
    ("case", "transfer", "--to", BOB, "-o", "bag"),
    ("case", "review", "--lines", "1-2", "--examiner", BOB),
    ("case", "seal"),
    ("hash", "disk.dd"),
    ("verify", "disk.dd"),
    ("info", "disk.dd"),
]


def test_a_sealed_case_takes_nothing_more(imgkit: Imgkit, case: str) -> None:
    document = run(imgkit, JANE, "case", "seal", "--note", "done", "--json").ended(0).json
    assert document["receipt"].startswith("imgkit-receipt/1 ")
    before = (imgkit.folder / "case" / "custody.jsonl").read_bytes()
    for words in REFUSED:
        done = run(imgkit, JANE, *words).ended(3)
        assert "was sealed at line 4" in done.err
        assert "case reopen" in done.err
    assert (imgkit.folder / "case" / "custody.jsonl").read_bytes() == before
    assert not (imgkit.folder / "bag").exists()
    assert "at line 4" in imgkit("case", "show", "case").ended(0).out
    run(imgkit, JANE, "log", "checkpoint").ended(0)  # it dates what is there
    assert "needs a reason" in run(imgkit, JANE, "case", "reopen", "--reason", " ").ended(2).err
    run(imgkit, JANE, "case", "reopen", "--reason", "appeal").ended(0)
    assert last(imgkit, "case.reopened")["reason"] == "appeal"
    assert "not sealed" in run(imgkit, JANE, "case", "reopen", "--reason", "again").ended(3).err
    run(imgkit, JANE, "hash", "disk.dd").ended(0)
    imgkit("log", "verify", "case").ended(0)


@pytest.mark.parametrize(("command", "done"), [("seal", "sealed"), ("reopen", "reopened")])
def test_what_is_recorded_without_a_checkpoint_is_told(
    imgkit: Imgkit, case: str, command: str, done: str
) -> None:
    if command == "reopen":
        run(imgkit, JANE, "case", "seal").ended(0)
    folder = imgkit.folder / "case" / "checkpoints"
    folder.rename(imgkit.folder / "aside")
    folder.write_text("no folder")
    failed = run(imgkit, JANE, "case", command, "--reason", "appeal").ended(3)
    line = last(imgkit, f"case.{done}")["seq"]
    (error,) = failed.errors
    assert f"the case is {done}, at line {line}, but there is no checkpoint over it yet: " in error
    assert "hint: imgkit log checkpoint makes one" in failed.err


def test_seal_needs_a_case(imgkit: Imgkit) -> None:
    imgkit.image("disk.dd", MEDIA)
    imgkit("hash", "disk.dd").ended(0)
    assert "needs a case" in imgkit("case", "seal").ended(2).err


@pytest.mark.live
def test_what_is_attached_is_taken_down_before_and_lands_after(imgkit: Imgkit, live: None, case: str) -> None:
    """The seal waits for what is attached; what another run attached meanwhile is taken down, and told in the sealed log."""
    (imgkit.folder / "disk.dd").write_bytes(bytes(1 << 20))
    device = run(imgkit, JANE, "attach", "disk.dd").ended(0).out.strip()
    try:
        assert "still attached" in run(imgkit, JANE, "case", "seal").ended(2).err
        sealed_behind_our_back(imgkit)
    finally:
        run(imgkit, JANE, "detach", device).ended(0)
    assert last(imgkit, "evidence.detached")["result"] == "ok"
    imgkit("log", "verify", "case").ended(0)


def sealed_behind_our_back(imgkit: Imgkit) -> None:
    """As a run of another version would that does not look: the record alone."""
    from imgkit.custody.log import CustodyLog
    from imgkit.custody.session import Actor, Session
    from imgkit.custody.state import StateFolder

    state = StateFolder(imgkit.env["XDG_STATE_HOME"] + "/imgkit")
    with Session(Actor("Jane Doe", "jane@lab.example"), state) as session:
        CustodyLog.open(imgkit.folder / "case", session).event("case.sealed", {})


@pytest.mark.live
@pytest.mark.xdist_group("live")
def test_an_attached_device_is_no_exhibit_of_its_own(imgkit: Imgkit, live: None, case: str) -> None:
    """Else an act on the original would be one on something that whoever does it holds."""
    imgkit.image("big.dd", bytes(1 << 20))
    device = run(imgkit, JANE, "attach", "big.dd").ended(0).out.strip()
    try:
        for words in ((), ("--exhibit", "EX1")):
            done = run(imgkit, BOB, "hash", device, *words).ended(2)
            assert f"{device} is EX2 of this case, attached at line" in done.err
    finally:
        run(imgkit, JANE, "detach", device).ended(0)


@pytest.mark.live
def test_what_is_exposed_is_taken_down_before_a_seal(imgkit: Imgkit, live: None, case: str) -> None:
    need(os.access("/dev/fuse", os.R_OK | os.W_OK), "needs /dev/fuse")
    run(imgkit, JANE, "expose", "disk.dd", "shown").ended(0)
    try:
        done = run(imgkit, JANE, "case", "seal").ended(2)
        assert f"still exposed: {imgkit.folder / 'shown'}" in done.err
    finally:
        imgkit("unexpose", "shown", env={"IMGKIT_EXAMINER": JANE}).ended(0)
    run(imgkit, JANE, "case", "seal").ended(0)

"""Handing over and receiving, between two people on two hosts: each has a memory of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.running import Imgkit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.running import Done

JANE, BOB, CAROL = "Jane Doe <jane@lab.example>", "Bob Roe <bob@court.example>", "Carol <carol@lab.example>"
MEDIA = bytes(range(256)) * 64


class Desk:
    """A person at a host of their own, in front of a folder that everybody sees."""

    def __init__(self, base: Path, who: str) -> None:
        (base / "hosts").mkdir(exist_ok=True)
        own = base / "hosts" / who.split(maxsplit=1)[0]
        own.mkdir()
        self._imgkit = Imgkit(own)
        self._imgkit.folder = base
        self._imgkit.env["IMGKIT_EXAMINER"] = who

    def __call__(self, *words: str | os.PathLike[str], **options: Any) -> Done:
        return self._imgkit(*words, **options)

    def log(self, case: str) -> list[dict[str, Any]]:
        return self._imgkit.records(self._imgkit.folder / case / "custody.jsonl")

    def last(self, case: str, kind: str) -> dict[str, Any]:
        return [record for record in self.log(case) if record["type"] == kind][-1]

    def codes(self, case: str, expected: int = 0) -> set[str]:
        document = self("log", "verify", case, "--json").ended(expected).json
        return {item["code"] for item in document["findings"]}


@pytest.fixture
def jane(tmp_path: Path) -> Desk:
    return Desk(tmp_path, JANE)


@pytest.fixture
def bob(tmp_path: Path) -> Desk:
    return Desk(tmp_path, BOB)


@pytest.fixture
def case(jane: Desk, tmp_path: Path) -> Path:
    """Jane's case with one exhibit."""
    (tmp_path / "disk.dd").write_bytes(MEDIA)
    jane("case", "new", "A", "--number", "2026-1").ended(0)
    jane("case", "add", "disk.dd", "--case", "A", "--description", "laptop", "--serial", "S3Z9").ended(0)
    return tmp_path / "A"


def give(jane: Desk, *words: str) -> Done:
    return jane("case", "transfer", "--case", "A", "--to", BOB, "-o", "bag", *words)


@pytest.fixture
def bag(jane: Desk, case: Path) -> Path:
    """What Jane handed over, with the image."""
    give(jane, "--with-images", "--seal", "0815", "--purpose", "trial").ended(0)
    return case.parent / "bag"


@pytest.fixture
def court(bob: Desk, case: Path) -> Desk:
    """Bob, with a case of his own."""
    bob("case", "new", "B", "--number", "77").ended(0)
    return bob


def take(bob: Desk, *words: str | os.PathLike[str]) -> Done:
    return bob("case", "receive", "bag", "--case", "B", *words)


# -- the whole way -----------------------------------------------------------------------------------


def test_there_and_back_with_images(jane: Desk, court: Desk, bag: Path) -> None:
    base = bag.parent
    before = os.stat(base / "disk.dd")
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        subprocess.run(["sha256sum", "--strict", "--quiet", "-c", manifest], cwd=bag, check=True)
    subprocess.run(["sh", "verify.sh"], cwd=bag / "data/case", check=True, capture_output=True)
    assert (bag / "data/images/EX1/disk.dd").read_bytes() == MEDIA
    document = take(court, "-o", "back.txt", "--place", "safe", "--json").ended(0).json
    (exhibit,) = document["exhibits"]
    assert (exhibit["theirs"], exhibit["exhibit"], exhibit["verdict"]) == ("EX1", "EX1", "match")
    offer, received = jane.last("A", "custody.transferred"), court.last("B", "custody.received")
    told = received["data"]["offer"]
    assert (told["log"], told["line"]) == (offer["log"], offer["seq"])
    following = next(record for record in jane.log("A") if record["seq"] == offer["seq"] + 1)
    assert told["head"] == following["prev"]
    assert court.last("B", "evidence.added")["data"]["from"]["exhibit"] == "EX1"
    intent = next(record for record in court.log("B") if record["type"] == "evidence.added")
    assert intent["data"]["description"] == "laptop"
    assert intent["data"]["source"] == {"serial": "S3Z9"}
    receipt = (base / "back.txt").read_text()
    assert document["receipt"] + "\n" == receipt
    jane("log", "receipt", "--take", "back.txt", "--case", "A").ended(0)
    court("log", "verify", "B", "--receipt", base / "back.txt").ended(0)
    assert "CUSTODY_GAP" not in jane.codes("A") | court.codes("B")
    after = os.stat(base / "disk.dd")
    assert (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_atime_ns) == (
        (after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_atime_ns)
    )


def test_what_was_given_is_told_by_show(jane: Desk, court: Desk, bag: Path) -> None:
    take(court, "--seal", "0815", "--place", "safe", "--authorised", CAROL).ended(0)
    held = jane("case", "show", "A", "--json").ended(0).json["exhibits"][0]["possession"]
    assert (held["state"], held["holder"]["id"]) == ("offered", "bob@court.example")
    text = court("case", "show", "B").ended(0).out
    assert "is held by Bob Roe <bob@court.example>" in text
    for word in ("0815", "safe", "Carol <carol@lab.example>"):
        assert word in text


def test_a_gap_is_told_once_a_run(jane: Desk, bob: Desk, case: Path) -> None:
    words = ("case", "transfer", "--case", "A", "--to", CAROL, "-o", "bag", "--exhibit", "EX1")
    done = bob(*words).ended(0)
    assert done.err.count("CUSTODY_GAP: EX1") == 1


def test_twice_received_is_said(court: Desk, bag: Path) -> None:
    assert "already" not in take(court).ended(0).err
    first = court.last("B", "custody.received")["seq"]
    assert (
        f"line {first} received this hand-over already; it is recorded once more" in take(court).ended(0).err
    )


def test_folders_of_a_bag_are_for_its_group_at_most(bag: Path) -> None:
    assert [place for place in (bag, *bag.rglob("*")) if place.stat().st_mode & 0o007] == []


def test_a_bag_of_others_is_no_hand_over(court: Desk, bag: Path) -> None:
    (bag / "tagmanifest-sha256.txt").unlink()
    (error,) = take(court).ended(3).errors
    assert error.endswith("bag' is no bag: it has no tagmanifest-sha256.txt")
    assert court.last("B", "case.opened")["seq"] == len(court.log("B"))


def test_without_images_they_come_another_way(jane: Desk, court: Desk, case: Path) -> None:
    give(jane).ended(0)
    assert not (case.parent / "bag/data/images").exists()
    refused = take(court).ended(2)
    assert "--image EX1=PATH" in refused.err
    assert [record["type"] for record in court.log("B")] == ["case.opened"]
    shutil.copy(case.parent / "disk.dd", case.parent / "copy.dd")
    take(court, "--image", "EX1=copy.dd").ended(0)
    assert court.last("B", "custody.received")["data"]["exhibits"][0]["verdict"] == "match"


def test_the_same_log_for_giver_and_receiver(jane: Desk, bob: Desk, case: Path) -> None:
    """Two people of one laboratory, one case folder."""
    give(jane).ended(0)
    bob("case", "receive", "bag", "--case", "A", "--image", "EX1=disk.dd").ended(0)
    bob("hash", "disk.dd", "--case", "A").ended(0)
    assert "CUSTODY_GAP" not in bob.codes("A")
    done = jane("hash", "disk.dd", "--case", "A")
    assert "CUSTODY_GAP" in done.err
    assert "CUSTODY_GAP" in bob.codes("A")


def test_a_hand_over_back(jane: Desk, court: Desk, bag: Path) -> None:
    take(court).ended(0)
    court("case", "transfer", "--case", "B", "--to", JANE, "-o", "back").ended(0)
    jane("case", "receive", "back", "--case", "A", "--image", "EX1=disk.dd").ended(0)
    jane("hash", "disk.dd", "--case", "A").ended(0)
    assert "CUSTODY_GAP" not in jane.codes("A")


def test_what_comes_home_in_a_bag_is_the_exhibit_that_went_away(jane: Desk, court: Desk, bag: Path) -> None:
    take(court).ended(0)
    words = ("case", "transfer", "--case", "B", "--to", JANE, "-o", "back", "--with-images")
    court(*words).ended(0)
    document = jane("case", "receive", "back", "--case", "A", "--json").ended(0).json
    assert [(one["exhibit"], one["verdict"]) for one in document["exhibits"]] == [("EX1", "match")]
    shown = jane("case", "show", "A", "--json").ended(0).json["exhibits"]
    assert [(one["exhibit"], one["possession"]["state"]) for one in shown] == [("EX1", "held")]
    for path in ("disk.dd", "back/data/images/EX1/disk.dd"):
        jane("hash", path, "--case", "A").ended(0)
    assert "CUSTODY_GAP" not in jane.codes("A")
    line = jane.last("A", "custody.received")["seq"]
    jane("case", "receive", "back", "--case", "A").ended(0)
    assert jane.last("A", "custody.received")["seq"] > line
    assert "CUSTODY_GAP" not in jane.codes("A")


def test_another_image_that_comes_home_is_told(jane: Desk, court: Desk, bag: Path) -> None:
    take(court).ended(0)
    words = ("--not-rehashed", "--reason", "x", "--with-images", "--image", "EX1=other.dd", "-o", "back")
    (bag.parent / "other.dd").write_bytes(b"x" * len(MEDIA))
    court("case", "transfer", "--case", "B", "--to", JANE, *words).ended(0)
    document = jane("case", "receive", "back", "--case", "A", "--json").ended(1).json
    assert [(one["exhibit"], one["verdict"]) for one in document["exhibits"]] == [("EX1", "mismatch")]


def test_received_once_more_in_the_same_log_is_no_gap(jane: Desk, bob: Desk, case: Path) -> None:
    """As after a crash between record and receipt."""
    give(jane).ended(0)
    for _again in range(2):
        bob("case", "receive", "bag", "--case", "A", "--image", "EX1=disk.dd").ended(0)
    assert "CUSTODY_GAP" not in bob.codes("A")


def test_an_image_in_several_folders_is_opened_from_its_bag(jane: Desk, court: Desk, case: Path) -> None:
    """An overlay and what it builds upon have one name: in the bag their folders lie to each other as they did."""
    base = case.parent
    for folder, backing in (("below", []), ("above", ["-b", "../below/disk.qcow2", "-F", "qcow2"])):
        (base / folder).mkdir()
        words = ["qemu-img", "create", "-q", "-f", "qcow2", *backing, f"{folder}/disk.qcow2", "1M"]
        subprocess.run(words, cwd=base, check=True)
    jane("hash", "above/disk.qcow2", "--case", "A").ended(0)
    done = give(jane, "--exhibit", "EX2", "--with-images").ended(0)
    assert "cannot be opened" not in done.err
    shutil.rmtree(base / "below")
    shutil.rmtree(base / "above")
    take(court).ended(0)
    assert (base / "bag/data/images/EX2/above/disk.qcow2").is_file()


def test_an_image_that_names_files_elsewhere_is_told_of(jane: Desk, court: Desk, case: Path) -> None:
    base = case.parent
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "below.qcow2", "1M"], cwd=base, check=True)
    words = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        str(base / "below.qcow2"),
        "-F",
        "qcow2",
        "a.qcow2",
    ]
    subprocess.run(words, cwd=base, check=True)
    jane("case", "add", "a.qcow2", "--case", "A").ended(0)
    done = give(jane, "--exhibit", "EX2", "--with-images").ended(0)
    assert "EX2 cannot be opened from the bag: it names " in done.err
    assert "--image EX2=PATH" in done.err


# -- what goes wrong on the way --------------------------------------------------------------------------


def test_the_same_hand_over_again_asks_for_its_bag_only(jane: Desk, bag: Path) -> None:
    line = jane.last("A", "custody.transferred")["seq"]
    for words in ((), ("--exhibit", "EX1")):
        done = jane("case", "transfer", "--case", "A", "--to", BOB, "-o", "bag2", *words).ended(2)
        assert f"EX1 was handed over to Bob Roe <bob@court.example> at line {line}" in done.err
        assert f"hint: imgkit case transfer --bag-only {line} -o BAG" in done.err
    assert jane.last("A", "custody.transferred")["seq"] == line
    another = ("case", "transfer", "--case", "A", "--to", CAROL, "-o", "bag2", "--exhibit", "EX1")
    assert "CUSTODY_GAP" in jane(*another).ended(0).err


def test_what_others_hold_is_not_handed_over_by_default(jane: Desk, bob: Desk, case: Path) -> None:
    (case.parent / "other.dd").write_bytes(b"x" + MEDIA)
    bob("case", "add", "other.dd", "--case", "A").ended(0)
    done = give(jane).ended(0)
    assert "EX2 is left out: it is held by Bob Roe" in done.err
    assert [one["exhibit"] for one in jane.last("A", "custody.transferred")["data"]["exhibits"]] == ["EX1"]
    assert "CUSTODY_GAP" not in jane.codes("A")


def test_the_bag_only_is_as_its_line_has_it(jane: Desk, bag: Path) -> None:
    words = ("--bag-only", "6", "-o", "bag2", "--case", "A", "--with-images", "--seal", "7")
    assert "leave --seal, --with-images out" in jane("case", "transfer", *words).ended(2).err


def test_a_bag_made_again_of_a_file_that_was_renamed(jane: Desk, court: Desk, bag: Path) -> None:
    base = bag.parent
    line = str(jane.last("A", "custody.transferred")["seq"])
    (base / "disk.dd").rename(base / "renamed.dd")
    words = ("--bag-only", line, "-o", "again", "--image", "EX1=renamed.dd", "--case", "A")
    jane("case", "transfer", *words).ended(0)
    document = court("case", "receive", "again", "--case", "B", "--json").ended(0).json
    assert document["exhibits"][0]["path"].endswith("data/images/EX1/renamed.dd")


def test_what_a_killed_run_left_of_a_bag_is_named(jane: Desk, case: Path) -> None:
    left = case.parent / ".bag.0c35c38e-bfe5-44fb-84c5-5464a734ff92.tmp"
    left.mkdir()
    assert f"{left} is what a run that was cut off left" in give(jane).ended(0).err


def test_a_receipt_goes_into_a_folder_that_is_there(court: Desk, bag: Path) -> None:
    for name, said in (("nowhere/r.txt", "no folder"), ("", "empty"), ("bag", "there already")):
        assert said in take(court, "-o", name).ended(2).err
    assert [record["type"] for record in court.log("B")] == ["case.opened"]


def test_a_receipt_that_cannot_be_written_lies_in_the_case(court: Desk, bag: Path) -> None:
    """Everything else is done: nobody should receive it again for that."""
    done = take(court, "-o", "/proc/receipt.txt", "--json").ended(3)
    document = done.json
    assert (document["received"] is not None, document["receipt_for_giver"]) == (True, None)
    assert "cannot write the receipt to '/proc/receipt.txt'" in done.err
    assert f"everything else is done, and it lies in {document['receipt_file']}" in done.err
    with open(document["receipt_file"], encoding="ascii") as file:
        assert file.read() == document["receipt"] + "\n"


def test_a_bag_is_of_its_own_hand_over_though_another_follows(jane: Desk, court: Desk, case: Path) -> None:
    """Two at once: the checkpoint of the first covers the second, too, and so does its bag."""
    (case.parent / "other.dd").write_bytes(b"x" + MEDIA)
    jane("case", "add", "other.dd", "--case", "A").ended(0)
    give(jane, "--exhibit", "EX1", "--with-images").ended(0)
    first = jane.last("A", "custody.transferred")["seq"]
    words = ("case", "transfer", "--case", "A", "--to", CAROL, "--exhibit", "EX2", "-o", "second")
    jane(*words).ended(0)
    second = jane.last("A", "custody.transferred")["seq"]
    shutil.copytree(case.parent / "second", case.parent / "both")
    info = case.parent / "both/bag-info.txt"
    info.write_text(info.read_text().replace(f"Imgkit-Line: {second}", f"Imgkit-Line: {first}"))
    edit_the_manifests(case.parent / "both")
    done = court("case", "receive", "both", "--case", "B", "--image", "EX1=disk.dd", "--json").ended(0)
    assert done.json["offer"]["line"] == first


def test_what_was_corrected_is_handed_over_corrected(jane: Desk, court: Desk, case: Path) -> None:
    line = str(jane.last("A", "evidence.added")["seq"] - 1)
    for field, now in (("data.description", "tablet"), ("data.source.serial", "S3Z8"), ("actor.name", "J")):
        jane("case", "correct", line, field, now, "--why", "misread", "--case", "A").ended(0)
    give(jane, "--with-images").ended(0)
    take(court).ended(0)
    added = next(record for record in court.log("B") if record["type"] == "evidence.added")["data"]
    assert (added["description"], added["source"]) == ("tablet", {"serial": "S3Z8"})


# -- what does not fit ---------------------------------------------------------------------------------


def edit_the_log(bag: Path) -> None:
    log = bag / "data/case/custody.jsonl"
    log.write_bytes(log.read_bytes().replace(b"laptop", b"tablet"))


def edit_the_log_and_the_manifests(bag: Path) -> None:
    edit_the_log(bag)
    edit_the_manifests(bag)


def edit_the_manifests(bag: Path) -> None:
    for name, folder in (("manifest-sha256.txt", "data"), ("tagmanifest-sha256.txt", ".")):
        lines = (bag / name).read_text().splitlines()
        files = [line.partition("  ")[2] for line in lines]
        done = subprocess.run(["sha256sum", *files], cwd=bag, capture_output=True, check=True)
        assert folder
        (bag / name).write_bytes(done.stdout)


def another_receipt(bag: Path) -> None:
    text = (bag / "receipt.txt").read_text().split()
    text[4] = "0" * 64
    (bag / "receipt.txt").write_text(" ".join(text) + "\n")
    done = subprocess.run(
        ["sha256sum", "bag-info.txt", "bagit.txt", "manifest-sha256.txt", "receipt.txt"],
        cwd=bag, capture_output=True, check=True,
    )  # fmt: skip
    (bag / "tagmanifest-sha256.txt").write_bytes(done.stdout)


def swap_the_image(bag: Path) -> None:
    (bag / "data/images/EX1/disk.dd").write_bytes(b"x" * len(MEDIA))


def take_a_file_away(bag: Path) -> None:
    (bag / "data/case/checkpoints/000001.txt").unlink()


@pytest.mark.parametrize(
    "tamper",
    [edit_the_log, edit_the_log_and_the_manifests, another_receipt, swap_the_image, take_a_file_away],
)
def test_a_bag_that_was_touched_is_not_received(
    court: Desk, bag: Path, tamper: Callable[[Path], None]
) -> None:
    tamper(bag)
    document = take(court, "--json").ended(1).json
    assert document["received"] is None
    assert document["problems"]
    assert [record["type"] for record in court.log("B")] == ["case.opened"]


def test_a_receipt_that_came_another_way_decides(court: Desk, bag: Path) -> None:
    """A bag that was made anew as a whole, with its log: only the receipt tells."""
    text = (bag / "receipt.txt").read_text().split()
    other = " ".join([*text[:4], "0" * 64, text[5]])
    document = take(court, "--receipt", other, "--json").ended(1).json
    assert any("FORKED" in problem for problem in document["problems"])
    take(court, "--receipt", bag / "receipt.txt").ended(0)


def test_another_image_than_was_handed_over(jane: Desk, court: Desk, case: Path) -> None:
    give(jane).ended(0)
    (case.parent / "other.dd").write_bytes(b"x" * len(MEDIA))
    document = take(court, "--image", "EX1=other.dd", "--json").ended(1).json
    assert document["exhibits"][0]["verdict"] == "mismatch"
    assert court.last("B", "custody.received")["data"]["exhibits"][0]["verdict"] == "mismatch"


def test_an_image_that_changed_is_not_handed_over(jane: Desk, case: Path) -> None:
    jane("hash", "disk.dd", "--case", "A").ended(0)
    (case.parent / "disk.dd").write_bytes(b"x" * len(MEDIA))
    done = give(jane).ended(1)
    assert "EX1: MISMATCH" in done.err
    assert "EX1: sha256 of media is " in done.err
    assert not (case.parent / "bag").exists()
    assert "custody.transferred" not in {record["type"] for record in jane.log("A")}
    give(jane, "--not-rehashed", "--reason", "as found").ended(0)
    record = jane.last("A", "custody.transferred")
    assert record["data"]["exhibits"][0]["checked"]["verdict"] == "mismatch"


def test_not_rehashed_is_recorded_with_its_reason(jane: Desk, court: Desk, case: Path) -> None:
    assert "needs a --reason" in give(jane, "--not-rehashed").ended(2).err
    done = give(jane, "--not-rehashed", "--reason", "12 TB, at night").ended(0)
    assert "NOT RE-HASHED" in done.out
    record = jane.last("A", "custody.transferred")
    assert (record["data"]["rehashed"], record["reason"]) == (False, "12 TB, at night")
    assert "needs a --reason" in take(court, "--not-rehashed").ended(2).err
    take(court, "--not-rehashed", "--reason", "sealed box").ended(0)
    record = court.last("B", "custody.received")
    assert (record["data"]["rehashed"], record["reason"]) == (False, "sealed box")


def test_offered_to_somebody_else(jane: Desk, court: Desk, bag: Path) -> None:
    done = take(court, "--examiner", CAROL).ended(0)
    assert "was handed over to Bob Roe" in done.err
    data = court.last("B", "custody.received")["data"]
    assert (data["to"]["id"], data["offered_to"]["id"]) == ("carol@lab.example", "bob@court.example")


def test_a_bag_has_a_new_name_outside_the_case(jane: Desk, case: Path) -> None:
    (case.parent / "bag").mkdir()
    assert "there already" in give(jane).ended(2).err
    words = ("case", "transfer", "--case", "A", "--to", BOB, "-o")
    assert "case folder" in jane(*words, "A/bag").ended(2).err
    assert "no folder" in jane(*words, "nowhere/bag").ended(2).err
    assert "there is" not in jane(*words, "").ended(2).out
    assert "custody.transferred" not in {record["type"] for record in jane.log("A")}


@pytest.mark.parametrize("to", ["Bob", "<bob@court>", "Bob <>", "Bob <b> <c>", ""])
def test_who_gets_it_is_named_with_an_id(jane: Desk, case: Path, to: str) -> None:
    done = jane("case", "transfer", "--case", "A", "--to", to, "-o", "bag").ended(2)
    assert "--to" in done.err


def test_an_own_log_hands_nothing_over(jane: Desk, tmp_path: Path) -> None:
    (tmp_path / "disk.dd").write_bytes(MEDIA)
    jane("hash", "disk.dd").ended(0)
    assert "needs a case" in jane("case", "transfer", "--to", BOB, "-o", "bag").ended(2).err


def test_no_room_for_the_bag(jane: Desk, case: Path) -> None:
    """The hand-over stands, nothing is left of the bag, and it can be made again: the same bytes of the case."""
    import resource

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    done = give_with(jane, little_room)
    assert done.code == 3
    line = jane.last("A", "custody.transferred")["seq"]
    assert f"recorded at line {line}" in done.errors[0]
    assert f"--bag-only {line}" in done.err
    assert [path.name for path in case.parent.iterdir() if "bag" in path.name] == []
    again = jane("case", "transfer", "--case", "A", "--bag-only", str(line), "-o", "bag").ended(0)
    assert "receipt" in again.out
    jane("case", "note", "later", "--case", "A").ended(0)
    jane("case", "transfer", "--case", "A", "--bag-only", str(line), "-o", "bag2").ended(0)
    same = ("manifest-sha256.txt", "bag-info.txt", "tagmanifest-sha256.txt")
    assert [
        (case.parent / "bag" / n).read_bytes() == (case.parent / "bag2" / n).read_bytes() for n in same
    ] == ([True] * 3)


def give_with(jane: Desk, before: Callable[[], None]) -> Done:
    return jane(
        "case", "transfer", "--case", "A", "--to", BOB, "-o", "bag", "--with-images", preexec_fn=before
    )


# -- names that somebody thought up ------------------------------------------------------------------

HOSTILE = [
    "new\nline.dd",
    "esc\x1b[31m.dd",
    "\u202egpj.dd",
    "=cmd.dd",
    "100%25.dd",
    "back\\slash.dd",
    "-rf.dd",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(jane: Desk, court: Desk, case: Path, name: str) -> None:
    base = case.parent
    (base / name).write_bytes(b"y" + MEDIA)
    words = ("case", "transfer", "--case", "A", "--exhibit", "EX2", "-o", "bag", "--with-images")
    jane("case", "add", "--case", "A", "--description", name, "--", name).ended(0)
    done = jane(*words, "--to", f"{name} <b\x1bb@{name}>", "--purpose", name, "--seal", name).ended(0)
    assert all(line.isprintable() for line in (done.out + done.err).splitlines())
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        subprocess.run(["sha256sum", "--strict", "--quiet", "-c", manifest], cwd=base / "bag", check=True)
    done = take(court).ended(0)
    assert all(line.isprintable() for line in (done.out + done.err).splitlines())
    assert "CUSTODY_GAP" not in court.codes("B")


def test_a_name_that_is_no_text(jane: Desk, court: Desk, case: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.dd")
    (case.parent / name).write_bytes(b"z" + MEDIA)
    jane("case", "add", name, "--case", "A").ended(0)
    give(jane, "--exhibit", "EX2", "--with-images").ended(0)
    take(court).ended(0)


def test_more_than_a_record_takes_is_handed_over_in_parts(jane: Desk, case: Path) -> None:
    for number in range(5):
        (case.parent / f"{number}.dd").write_bytes(MEDIA + bytes([number]))
        jane("case", "add", f"{number}.dd", "--case", "A", "--description", "x" * 9000).ended(0)
    assert "in parts" in give(jane).ended(2).err
    give(jane, "--exhibit", "EX1", "--exhibit", "EX2").ended(0)
    assert jane.last("A", "custody.transferred")["data"]["exhibits"][1]["exhibit"] == "EX2"


def test_a_hostile_log_in_a_bag(court: Desk, bag: Path) -> None:
    """A hand-over that lacks what every one has: told, and nothing recorded."""
    log = bag / "data/case/custody.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()]
    for record in records:
        if record["type"] == "custody.transferred":
            record["data"] = {"exhibits": 7}
    log.write_text("".join(json.dumps(one, sort_keys=True, separators=(",", ":")) + "\n" for one in records))
    edit_the_log_and_the_manifests(bag)
    assert take(court).code in (1, 3)
    assert [record["type"] for record in court.log("B")] == ["case.opened"]


def test_a_line_that_is_no_hand_over_names_those_that_are(jane: Desk, bag: Path) -> None:
    line = jane.last("A", "custody.transferred")["seq"]
    done = jane("case", "transfer", "--case", "A", "--bag-only", "2", "-o", "bag2").ended(3)
    assert f"hint: those are at {line}\n" in done.err


def test_one_name_with_two_ids_is_told_how_to_be_one(jane: Desk, case: Path) -> None:
    """Somebody at two hosts who has stated no id: `user@host` of each."""
    other = ("--examiner", "Jane Doe <jane@other-host>")
    done = jane("hash", "disk.dd", "--case", "A", *other).ended(0)
    assert "if that is one person, say --examiner 'Jane Doe <jane@lab.example>'" in done.err
    assert "one person" not in jane("hash", "disk.dd", "--case", "A", "--examiner", BOB).ended(0).err


def test_an_image_that_cannot_be_opened_is_not_received(jane: Desk, court: Desk, case: Path) -> None:
    give(jane).ended(0)
    done = take(court, "--image", "EX1=nowhere.dd").ended(3)
    assert "nothing was received" in done.err
    assert "custody.received" not in {record["type"] for record in court.log("B")}


def test_a_sealed_case_refuses_before_anything_is_read(jane: Desk, court: Desk, bag: Path) -> None:
    (bag / "data/case/custody.jsonl").write_text("touched")
    court("case", "seal", "--case", "B").ended(0)
    assert "was sealed at line" in take(court).ended(3).err
    jane("case", "seal", "--case", "A").ended(0)
    words = ("case", "transfer", "--case", "A", "--to", CAROL, "--exhibit", "EX1", "-o", "bag2")
    done = jane(*words).ended(3)
    assert "was sealed at line" in done.err
    assert "CUSTODY_GAP" not in done.err
    line = str(jane.last("A", "custody.transferred")["seq"])
    jane("case", "transfer", "--case", "A", "--bag-only", line, "-o", "bag2").ended(0)

"""What a log says, folded: exhibits and their names, whose an image is, digests, attachments, open acts."""

from __future__ import annotations

from typing import Any

import pytest

from imgkit.errors import CustodyError, UsageError
from imgkit.examination.ledger import Ledger, fold
from imgkit.examination.own_references import own_references
from imgkit.image import Extent

Record = dict[str, Any]

MD5_A, MD5_B = "a" * 32, "b" * 32


class Script:
    """Records as a log would hold them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.add("case.opened", "event", {"number": "1"})

    def add(self, kind: str, phase: str, data: Record, **more: Any) -> Record:
        record = {
            "seq": len(self.records) + 1,
            "type": kind,
            "phase": phase,
            "data": data,
            "actor": {"name": "Jane", "id": "jane@lab"},
            "time": {"boot_id": "boot"},
            **more,
        }
        self.records.append(record)
        return record

    def act(
        self, kind: str, asked: Record, found: Record, *, result: str = "ok", exhibit: str = "EX1"
    ) -> int:
        op = f"op-{len(self.records)}"
        line: int = self.add(kind, "intent", asked, op=op, exhibit=exhibit)["seq"]
        self.add(kind, "outcome", {**asked, **found}, op=op, exhibit=exhibit, result=result)
        return line

    def exhibit(self, name: str, path: str, *, dev: str = "1", ino: str = "7", **more: Any) -> int:
        return self.act("evidence.added", {"files": [file(path, dev=dev, ino=ino)], **more}, {}, exhibit=name)

    def hashed(self, value: str, *, of: str = "media", result: str = "ok", **found: Any) -> int:
        return self.act("evidence.hashed", {"of": of}, {"digests": {"md5": value}, **found}, result=result)

    @property
    def ledger(self) -> Ledger:
        return fold(self.records)


def file(path: str, *, dev: str = "1", ino: str = "7") -> Record:
    return {"path": path, "dev": dev, "ino": ino}


def test_names_are_given_in_turn_and_never_twice() -> None:
    script = Script()
    assert script.ledger.next_name() == "EX1"
    script.exhibit("EX1", "/a.dd")
    script.exhibit("EX7", "/b.dd", ino="8")
    script.exhibit("laptop", "/c.dd", ino="9")
    assert script.ledger.next_name() == "EX8"
    script.act("evidence.added", {"files": [file("/d.dd")]}, {}, exhibit="EX8", result="failed")
    assert script.ledger.next_name() == "EX9"
    assert [item.name for item in script.ledger.known()] == ["EX1", "EX7", "laptop"]


def test_of_two_that_take_one_name_the_earlier_line_has_it() -> None:
    script = Script()
    script.add("evidence.added", "intent", {"files": [file("/a.dd")]}, op="one", exhibit="EX1")
    script.add("evidence.added", "intent", {"files": [file("/b.dd", ino="8")]}, op="two", exhibit="EX1")
    script.add("evidence.added", "outcome", {}, op="one", exhibit="EX1", result="ok")
    script.add("evidence.added", "outcome", {}, op="two", exhibit="EX1", result="failed")
    (exhibit,) = script.ledger.known()
    assert (exhibit.paths, exhibit.line) == ({"/a.dd"}, 2)


def test_an_image_is_found_by_path_and_by_inode_and_by_name() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd", ino="7")
    ledger = script.ledger
    for seen in (file("/a.dd", ino="99"), file("/moved.dd", ino="7")):
        found = ledger.find([seen], None)
        assert found is not None
        assert found.name == "EX1"
    assert ledger.find([file("/b.dd", ino="8")], None) is None
    assert ledger.find([file("/a.dd", dev="2", ino="7")], None) is ledger.exhibits["EX1"]
    assert ledger.find([file("/b.dd", dev="2", ino="7")], None) is None
    assert ledger.find([file("/b.dd", ino="8")], "EX1") is ledger.exhibits["EX1"]


def test_a_path_says_more_than_an_inode_that_was_given_out_again() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd", ino="7")
    script.exhibit("EX2", "/b.dd", ino="8")
    found = script.ledger.find([file("/b.dd", ino="7")], None)
    assert found is not None
    assert found.name == "EX2"


def test_an_image_that_stands_for_several_is_asked_for() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd", ino="7")
    script.exhibit("EX2", "/a.dd", ino="8")
    with pytest.raises(UsageError) as caught:
        script.ledger.find([file("/a.dd", ino="9")], None)
    assert "EX1, EX2" in caught.value.message
    assert "--exhibit" in str(caught.value.hint)


def test_an_exhibit_that_there_is_not_is_wrong_usage() -> None:
    script = Script()
    with pytest.raises(UsageError, match="no exhibit EX1"):
        script.ledger.find([file("/a.dd")], "EX1")
    script.act("evidence.added", {"files": [file("/a.dd")]}, {}, exhibit="EX1", result="failed")
    with pytest.raises(UsageError, match="no exhibit EX1"):
        script.ledger.find([file("/a.dd")], "EX1")


def test_a_name_that_is_no_utf8_is_its_bytes() -> None:
    script = Script()
    seen = {"path": "caf\\xe9", "path_b64": "Y2Fm6Q==", "dev": "1", "ino": "7"}
    script.act("evidence.added", {"files": [seen]}, {})
    ledger = script.ledger
    assert ledger.find([{**seen, "ino": "9"}], None) is ledger.exhibits["EX1"]
    assert ledger.find([{"path": "caf\\xe9", "dev": "1", "ino": "9"}], None) is None


def test_a_moved_image_is_known_at_its_new_place_too() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd", ino="7")
    script.act("evidence.inspected", {"files": [file("/b.dd", ino="7")]}, {})
    script.act("evidence.inspected", {"files": [file("/c.dd", ino="55")]}, {}, result="failed")
    ledger = script.ledger
    assert ledger.exhibits["EX1"].paths == {"/a.dd", "/b.dd"}


def test_a_list_that_went_to_an_enclosure_leaves_its_first_file() -> None:
    script = Script()
    data = {"files": {"enclosure": "x", "count": 5000}, "first_file": file("/s.001")}
    script.act("evidence.added", data, {})
    assert script.ledger.exhibits["EX1"].paths == {"/s.001"}


def test_of_our_own_digests_the_first_counts() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd", stated=[{"digest": f"md5:{MD5_B}", "source": "told"}])
    script.hashed(MD5_A)
    script.hashed(MD5_B)
    exhibit = script.ledger.exhibits["EX1"]
    references = own_references(script.ledger, exhibit, "/log")
    assert [(item.source.origin, item.digest.value, item.source.line) for item in references] == [
        ("acquisition", MD5_B, 2),
        ("own", MD5_A, 5),
    ]
    assert exhibit.has_own("media", "md5")
    assert not exhibit.has_own("media", "sha256")
    assert not exhibit.has_own("partition:1", "md5")


def test_digests_of_runs_that_failed_or_mismatched_are_none_of_ours() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd")
    script.hashed(MD5_A, result="failed")
    script.act("evidence.verified", {"of": "media"}, {"digests": {"md5": MD5_B}, "verdict": "mismatch"})
    exhibit = script.ledger.exhibits["EX1"]
    assert exhibit.own == []
    assert exhibit.checked == (7, "mismatch")


def test_an_attachment_is_known_until_its_end() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd")
    line = script.act("evidence.attached", {"offset": 0}, {"device": "/dev/loop7", "diskseq": 3})
    assert script.ledger.attachments[line].data["device"] == "/dev/loop7"
    script.act("evidence.detached", {"attached_line": line}, {}, result="failed")
    assert line in script.ledger.attachments
    gone = script.act("evidence.detached", {"attached_line": line}, {})
    assert gone
    assert script.ledger.attachments == {}


def test_an_attachment_that_is_gone_is_known_no_more() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd")
    line = script.act("evidence.attached", {"offset": 0}, {"device": "/dev/loop7"})
    script.add("evidence.gone", "event", {"attached_line": line})
    assert script.ledger.attachments == {}


@pytest.mark.parametrize("end", ["evidence.unexposed", "evidence.gone"])
def test_an_exposure_is_known_until_its_end(end: str) -> None:
    script = Script()
    script.exhibit("EX1", "/a.E01")
    served = {"target": "/x", "pid": 7, "started": 99, "pid_namespace": 4026531836}
    line = script.act("evidence.exposed", {"target": "/x"}, served)
    known = script.ledger.exposures[line]
    assert (known.target, known.process, known.pid_namespace) == ("/x", (7, 99), 4026531836)
    script.act("evidence.unexposed", {"exposed_line": line}, {"exposed_line": line}, result="failed")
    assert line in script.ledger.exposures
    if end == "evidence.gone":
        script.add(end, "event", {"exposed_line": line})
    else:
        script.act(end, {"exposed_line": line}, {"exposed_line": line})
    assert script.ledger.exposures == {}


def test_the_last_check_counts() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd")
    script.act("evidence.verified", {"of": "media"}, {"digests": {}, "verdict": "match"})
    last = script.act("evidence.verified", {"of": "media"}, {"digests": {}, "verdict": "unreadable"})
    script.act("evidence.verified", {"of": "partition:1"}, {"digests": {}, "verdict": "match"})
    assert script.ledger.exhibits["EX1"].checked == (last + 1, "unreadable")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"seq": 2},
        {"seq": 2, "type": "evidence.added", "phase": "intent", "data": {}, "actor": {}},
        {
            "seq": 2,
            "type": "evidence.added",
            "phase": "intent",
            "op": "x",
            "exhibit": "EX1",
            "data": 5,
            "actor": 5,
        },
        {
            "seq": 2,
            "type": "evidence.added",
            "phase": "intent",
            "op": "x",
            "exhibit": "EX1",
            "actor": {},
            "data": {"files": [{}], "stated": [{"digest": "md5:none"}]},
        },
    ],
)
def test_a_record_that_imgkit_never_writes_is_an_error_and_no_crash(record: Record) -> None:
    with pytest.raises(CustodyError) as caught:
        fold([*Script().records, record])
    assert caught.value.code == "SCHEMA"
    assert "record 2" in caught.value.message


# -- verdicts of a run -----------------------------------------------------------------------------


def verified(script: Script, of: str, verdict: str, session: str, **more: Any) -> int:
    """The line of the outcome."""
    op = f"op-{len(script.records)}"
    asked = {"of": of}
    script.add("evidence.verified", "intent", asked, op=op, exhibit="EX1", session=session)
    found = {**asked, "digests": {}, "verdict": verdict, **more}
    line: int = script.add(
        "evidence.verified", "outcome", found, op=op, exhibit="EX1", session=session, result="ok"
    )["seq"]
    return line


def checked(script: Script) -> tuple[int, str] | None:
    return script.ledger.exhibits["EX1"].checked


def test_a_mismatch_of_any_part_is_the_verdict_of_the_run() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd")
    verified(script, "media", "match", "one")
    line = verified(script, "partition:1", "mismatch", "one")
    verified(script, "partition:2", "match", "one")
    assert checked(script) == (line, "mismatch")
    last = verified(script, "media", "match", "two")
    assert checked(script) == (last, "match")  # another run


def test_the_last_part_states_the_verdict_of_all() -> None:
    script = Script()
    script.exhibit("EX1", "/a.001")
    verified(script, "media", "no-reference", "one")
    verified(script, "segment:0", "match", "one")
    line = verified(script, "segment:1", "match", "one", overall="match")
    assert checked(script) == (line, "match")


def test_of_two_images_of_one_run_the_worse_counts() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd")
    verified(script, "media", "mismatch", "one", overall="mismatch")
    line = verified(script, "media", "match", "one", overall="match")
    assert checked(script) == (line, "mismatch")


def test_a_digest_of_a_file_that_changed_is_none_of_ours() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd")
    script.hashed(MD5_A, changed=["/a.dd"])
    script.hashed(MD5_B, verdict="mismatch")
    assert script.ledger.exhibits["EX1"].own == []


def test_a_digest_of_a_partition_is_of_its_bytes() -> None:
    script = Script()
    script.exhibit("EX1", "/a.dd")
    script.hashed(MD5_A, of="partition:1", offset=512, length=1024, sector_size=512)
    script.hashed(MD5_B, of="partition:1", offset=2048, length=1024)
    script.hashed(MD5_B, of="partition:1", offset=512, length=1024)
    references = own_references(script.ledger, script.ledger.exhibits["EX1"], "/log")
    assert {(item.extent, item.digest.value, item.sector_size) for item in references} == {
        (Extent(512, 1024), MD5_A, 512),
        (Extent(2048, 1024), MD5_B, None),
    }


# -- block devices ---------------------------------------------------------------------------------


def disk(path: str, **source: Any) -> Record:
    return {"path": path, "dev": "5", "ino": "7", "source": {"size": 4096, **source}}


def added(script: Script, name: str, seen: Record) -> None:
    script.act("evidence.added", {"files": [seen]}, {}, exhibit=name)


def found_as(script: Script, seen: Record) -> str | None:
    found = script.ledger.find([seen], None)
    return None if found is None else found.name


def test_a_disk_is_known_by_what_it_says_of_itself() -> None:
    script = Script()
    added(script, "EX1", disk("/dev/sdb", serial="A1", wwn="naa.1", diskseq=9, boot_id="x"))
    assert found_as(script, disk("/dev/sdc", serial="A1", wwn="naa.1", diskseq=10, boot_id="y")) == "EX1"
    assert found_as(script, disk("/dev/sdc", serial="A1", diskseq=10, boot_id="y")) == "EX1"
    assert found_as(script, disk("/dev/sdb", serial="B2", diskseq=9, boot_id="x")) is None
    assert found_as(script, disk("/dev/sdb", serial="A1", wwn="naa.2")) is None
    assert found_as(script, disk("/dev/sdb", serial="A1", size=8192)) is None
    assert found_as(script, disk("/dev/sdb1", serial="A1", start=1024)) is None  # a partition of it
    assert script.ledger.exhibits["EX1"].nodes == {"/dev/sdb"}


def test_a_disk_that_says_nothing_is_known_by_its_number_in_this_boot() -> None:
    script = Script()
    added(script, "EX1", disk("/dev/loop7", diskseq=9, boot_id="x"))
    assert found_as(script, disk("/dev/loop7", diskseq=9, boot_id="x")) == "EX1"
    assert found_as(script, disk("/dev/loop7", diskseq=10, boot_id="x")) is None
    assert found_as(script, disk("/dev/loop7", diskseq=9, boot_id="y")) is None
    assert found_as(script, disk("/dev/loop7", boot_id="x")) is None
    assert found_as(script, file("/dev/loop7")) is None  # a file there is no disk
    added(script, "EX2", disk("/dev/sdx", boot_id="x"))
    assert found_as(script, disk("/dev/sdx", boot_id="x")) is None  # before Linux 5.15: --exhibit says it

"""What reports say in words is exactly so: of coverage, verdicts, read errors, hand-overs and where evidence was visible."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.verify.coverage import Covered
from imgkit.reports.folding import _coverage
from tests.reports.forged import BLAKE3, SHA256, Case, added, made, view_of

if TYPE_CHECKING:
    from pathlib import Path

    from imgkit.reports.view import CaseView, Coverage

UNREAD = {"offset": 512, "length": 4096, "reason": "input/output error"}
EVERY = ("html", "facts", "csv", "case_uco")


@pytest.fixture(name="case")
def fixture_case(tmp_path: Path) -> Case:
    case = Case(tmp_path / "case")
    case.forge.open({"number": "7"})
    facts = added(description="laptop", stored_digests={"md5": "0" * 32})
    case.forge.act("evidence.added", facts, facts)
    return case


def said(name: str, view: CaseView) -> str:
    """The text of a report: without markup, and with its lines joined."""
    text = made(name, view).decode()
    if name == "html":
        text = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        text = re.sub(r"</?(?:a|b|bdi|code|i|small|time)(?: [^>]*)?>", "", text)
        text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return re.sub(r"\s+", " ", text)


def read(
    case: Case, verdict: str = "", of: str = "media", kind: str = "evidence.verified", **facts: Any
) -> None:
    done: dict[str, Any] = {"of": of, "digests": {}, "comparisons": []}
    done |= ({"verdict": verdict} if verdict else {}) | facts
    case.forge.act(kind, {"of": of}, done)


# -- what stands behind the lines ------------------------------------------------------------------


def covering(*, signed: str = "", stamped: str = "", receipts: tuple[int, ...] = ()) -> Coverage:
    found = ((signed,) if signed else (), (stamped,) if stamped else ())
    return _coverage(Covered(1, 2, *found, receipts, memory=False))


@pytest.mark.parametrize("name", EVERY)
def test_a_receipt_is_named_once_and_with_its_lines(case: Case, name: str) -> None:
    view = replace(case.save(), coverage=(covering(receipts=(3,)),))
    assert ("receipt of lines 1 to 3" in said(name, view)) or name == "html"
    assert "of of" not in said(name, view)
    assert "3 lines" not in said(name, view)


@pytest.mark.parametrize(
    ("coverage", "outside"),
    [
        (covering(), False),
        (covering(signed="jane@lab (self-asserted)"), False),
        (covering(stamped="2026-05-01T12:00:00Z by TSA (self-asserted)"), False),
        (covering(signed="jane@lab (trusted)"), True),
        (covering(stamped="2026-05-01T12:00:00Z by TSA"), True),
        (covering(receipts=(3,)), True),
    ],
)
def test_the_first_page_says_whether_anybody_else_vouches(
    case: Case, coverage: Coverage, outside: bool
) -> None:
    page = made("html", replace(case.save(), coverage=(coverage,))).decode()
    kind = "good" if outside else "warn"
    assert f'class="banner {kind}"' in page
    first = said("html", replace(case.save(), coverage=(coverage,)))
    assert ("No trusted signature, trusted time stamp or receipt covers any line" in first) is not outside
    assert ("nothing of the kind covers line 3" in first) is outside


def test_the_memory_of_a_host_is_not_passed_over(case: Case) -> None:
    text = said("facts", replace(case.save(), coverage=(replace(covering(), memory="yes"),)))
    assert "only the memory of the host that made this report shows" in text
    assert "nothing here shows" not in text


# -- what became of the evidence -------------------------------------------------------------------


def test_a_digest_that_is_stated_is_not_denied_where_nothing_could_be_read(case: Case) -> None:
    read(case, "unreadable", overall="unreadable", read_errors=[UNREAD])
    text = said("facts", case.save())
    assert "No digest was compared: there were read errors." in text
    assert "Nothing that states a digest was at hand." not in text


def test_no_digest_is_said_to_be_computed_where_none_was(case: Case) -> None:
    read(case, "unreadable", kind="evidence.hashed", read_errors=[UNREAD])
    case.forge.intent("evidence.hashed", {"of": "media"})
    assert said("html", case.save()).count("Read for its digests") == 2
    assert "Digests computed" not in said("html", case.save())


def test_a_range_that_was_tried_twice_is_one_range(case: Case) -> None:
    read(case, "unreadable", kind="evidence.hashed", read_errors=[UNREAD])
    read(case, "unreadable", overall="unreadable", read_errors=[UNREAD])
    view = case.save()
    [unread] = view.exhibits[0].unread
    assert unread.lines == (5, 7)
    assert "1 range that could not be read is recorded" in said("facts", view)
    assert "[lines 5, 7]" in said("facts", view)
    assert "1 range" in said("html", view)
    assert "input/output error line 5, line 7" in said("html", view)


@pytest.mark.parametrize("last", ["match", "mismatch"])
def test_a_part_that_was_found_wrong_later_is_an_alarm(case: Case, last: str) -> None:
    read(case, last, overall=last)
    read(case, "unreadable", of="partition:1", kind="evidence.hashed", read_errors=[UNREAD])
    exhibit = case.save().exhibits[0]
    assert exhibit.verdict is not None
    assert exhibit.verdict.line == 5
    found = [(fault.of, fault.verdict) for fault in exhibit.faults]
    assert found == [("media", "mismatch")] * (last == "mismatch") + [("partition:1", "unreadable")]
    assert "EX1, partition 1: last found UNREADABLE in parts" in said("html", case.save())
    short = f"EX1: last verdict recorded: {last} [line 5]; partition 1: unreadable [line 7]"
    assert short in said("facts", case.save())
    assert f"{last} (line 5); partition 1 unreadable (line 7)" in said("csv.exhibits", case.save())


def test_a_part_is_no_alarm_once_the_whole_was_verified_again(case: Case) -> None:
    read(case, "unreadable", of="partition:1", kind="evidence.hashed", read_errors=[UNREAD])
    read(case, "match", overall="match")
    assert case.save().exhibits[0].faults == ()


def test_unchanged_is_not_said_to_be_the_acquisition(case: Case) -> None:
    read(case, "unchanged", overall="unchanged")
    assert "not compared with the acquisition" in said("html", case.save())


def test_a_digest_of_ours_is_told_from_one_that_others_state(case: Case) -> None:
    read(case, kind="evidence.hashed", digests={"sha256": SHA256})
    source = {"kind": "custody", "line": 5, "origin": "own", "protection": "log"}
    held = {"algorithm": "sha256", "expected": SHA256, "actual": SHA256, "matches": True, "source": source}
    read(case, "unchanged", overall="unchanged", comparisons=[held])
    for name in ("html", "facts"):
        assert "this log, line 5 (computed earlier)" in said(name, case.save())


# -- where it was visible --------------------------------------------------------------------------


def test_what_was_only_begun_is_not_said_to_be_still_there(case: Case) -> None:
    case.forge.intent("evidence.attached", {"diskseq": 7, "offset": 0, "length": 512})
    text = said("html", case.save())
    assert "begun; no outcome recorded" in text
    assert "still there" not in text


def test_unchanged_files_are_not_unchanged_content(case: Case) -> None:
    facts: dict[str, Any] = {
        "device": "/dev/loop3",
        "guard": "lease",
        "diskseq": 7,
        "offset": 0,
        "length": 512,
    }
    facts |= {"proof": {"read_only": True, "sectors_written": 0}}
    line = len(case.forge.lines) + 1
    case.forge.act("evidence.attached", {}, facts)
    end = {"device": "/dev/loop3", "attached_line": line}
    case.forge.act("evidence.detached", end, end | {"compared": True, "details": []})
    for name in ("html", "facts"):
        text = said(name, case.save())
        assert "size, times and inode that they had before; nothing was hashed" in text
        assert "read-only yes; sectors written 0" in text
        assert "a read lease: nobody had its files open for writing" in text


def test_a_guard_is_no_proof(case: Case) -> None:
    case.forge.act("evidence.exposed", {}, {"file": "/mnt/laptop.raw", "guard": "none"})
    text = said("facts", case.save())
    assert "Read back" not in text
    assert "Guard: none: nothing kept others from writing to its files." in text


def test_a_late_outcome_does_not_move_when_the_act_began(case: Case) -> None:
    op = case.forge.intent("evidence.hashed", {"of": "media"})  # line 4, written at 09:00:04
    case.forge.event("note.added", case.enclose(b"meanwhile", "txt"))
    when = {"utc": "2026-05-01T09:00:04.500000Z", "tz": "+02:00", "boot_us": 1, "boot_id": "b", "sync": "ok"}
    done = {"of": "media", "digests": {"sha256": SHA256}, "at": when}
    case.forge.outcome(op, "evidence.hashed", done, late=True)  # line 6
    view = case.save()
    began, written = (view.acts[-2].time, view.acts[-2].ended)
    assert f"recorded late, {written}" in said("html", view)
    facts = said("facts", view)
    assert (
        f"begun {began}, ended 2026-05-01 09:00:04 UTC (+02:00) (recorded late, {written}): [lines 4, 6]"
        in facts
    )
    assert f'"uco-action:startTime": {{"@type": "xsd:dateTime", "@value": "{began.utc}"}}' in said(
        "case_uco", view
    )


# -- hand-overs and statements ---------------------------------------------------------------------


def test_what_came_of_a_received_exhibit_is_told(case: Case) -> None:
    came = {"exhibit": "EX1", "theirs": "EX4", "rehashed": True, "verdict": "mismatch", "line": 3}
    came |= {"digests": {"sha256": SHA256}}
    received = {"exhibits": [came, {"theirs": "EX5", "rehashed": False}], "to": {"name": "B", "id": "b"}}
    received |= {"offer": {"log": "a log", "line": 9, "head": SHA256, "handover": "an id"}}
    received |= {"bag": {"path": "/bag", "files": 1200, "bytes": 4096, "manifest_sha256": "0" * 64}}
    case.forge.event("custody.received", received)
    assert "EX1: received by B <b>, recorded by Jane Doe" in said("facts", case.save())
    for name in ("html", "facts"):
        text = said(name, case.save())
        assert f"EX1, the giver states sha256 {SHA256}" in text
        for words in ("log a log, line 9", "1,200 files, 4,096 bytes", "id of the hand-over", "0" * 64):
            assert words in text
        assert "read once more, found then at line 3: mismatch, the giver's EX4" in text
        assert re.search(r"EX5 of the giver:? NOT read once more", text)


def test_a_hand_over_is_found_by_its_exhibits(case: Case) -> None:
    case.forge.event(
        "custody.stored", {"exhibits": [{"exhibit": "EX1"}, {"exhibit": "EX2"}], "place": "safe"}
    )
    table = csv.DictReader(io.StringIO(made("csv", case.save()).decode("utf-8-sig")))
    assert [row["exhibit"] for row in table if row["type"] == "custody.stored"] == ["EX1, EX2"]


@pytest.mark.parametrize("name", ["html", "facts"])
def test_receipts_reviews_and_checkpoints_name_their_lines(case: Case, name: str) -> None:
    reach = {"size": 1200, "bytes": 1048576, "head": SHA256}
    case.forge.event("receipt.given", {**reach, "to": "Mr Roe", "file": BLAKE3, "text": "0" * 64})
    case.forge.event("log.checkpointed", {**reach, "n": 1})
    case.forge.event("record.reviewed", {"first": 1, "last": 1200, "note": "complete"})
    text = said(name, case.save())
    assert re.search(r"lines:? 1 to 1,200 \(1,048,576 bytes\)", text)
    assert re.search(r"lines:? 1 to 1,200 ", text)
    assert "SHA-256 of these lines" in text


@pytest.mark.parametrize("name", ["html", "facts"])
def test_a_time_stamp_says_what_it_dates(case: Case, name: str) -> None:
    stamp = {"n": 2, "time": "2026-05-01T12:00:00.000000Z", "name": "CN=TSA", "serial": "02", "sums": BLAKE3}
    case.forge.event("log.anchored", {**stamp, "tsa": "tsa", "sha256": SHA256, "file": "000002.sums.tsa.tsr"})
    text = said(name, case.save())
    assert re.search(r"checkpoint:? 2 dated:? 2026-05-01T12:00:00.000000Z by:? CN=TSA", text)
    assert f"SHA-256 of the reply {SHA256}" in text


def test_a_correction_of_any_line_is_in_the_facts(case: Case) -> None:
    case.forge.event("custody.stored", {"exhibits": [{"exhibit": "EX1"}], "place": "safe 2"})
    said_later = {"line": 4, "field": "data.place", "was": "safe 2", "now": "safe 3", "why": "misread"}
    case.forge.event("correction.added", said_later)
    assert "Line 4, data.place: corrected from 'safe 2' to 'safe 3'" in said("facts", case.save())


def test_sizes_in_the_record_have_their_unit(case: Case) -> None:
    assert "size 4,194,304 bytes" in said("html", case.save())


# -- logs of which little can be said --------------------------------------------------------------


def test_failures_come_before_warnings(case: Case) -> None:
    case.forge.intent("evidence.hashed", {"of": "media"})
    case.forge.append(case.forge.record("note.added", "event", {}) | {"prev": "0" * 64})
    text = said("facts", case.save())
    assert 0 < text.index("FAIL CHAIN_BREAK") < text.index("WARN OPEN_INTENT")


@pytest.mark.parametrize("name", ["html", "facts", "csv", "csv.hashes", "csv.exhibits", "case_uco"])
@pytest.mark.parametrize(("content", "words"), [(b"", "no line"), (b"no log\n", "line 1")])
def test_a_log_without_a_record_makes_a_report_that_says_so(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / "custody.jsonl").write_bytes(content)
    text = said(name, view_of(tmp_path))
    assert "FAILED" in text
    assert words in text
    assert "1 to 1," not in text
    assert name != "html" or "<h1><bdi>without a name</bdi></h1>" in made(name, view_of(tmp_path)).decode()


# -- lists and texts that cannot be shown ----------------------------------------------------------

UNSHOWN = "lies in an enclosure that is not there, or is not what the record names"


def withheld(count: int) -> dict[str, Any]:
    return {"count": count, "sha256": "0" * 64, "enclosure": f"{'0' * 64}.json"}


@pytest.mark.parametrize("name", ["html", "facts", "csv.hashes", "case_uco"])
def test_read_errors_whose_list_is_withheld_are_not_denied(case: Case, name: str) -> None:
    read(case, "unreadable", overall="unreadable", read_errors=withheld(4711))
    text = said(name, case.save())
    assert UNSHOWN in text
    assert re.search("4,?711 ranges", text)
    assert "No read errors are recorded" not in text
    assert "none recorded" not in text


def partitions(*sizes: int) -> list[dict[str, Any]]:
    return [{"number": 1, "offset": 512, "length": size, "type": "0x83"} for size in sizes]


def test_partitions_whose_list_is_withheld_are_not_none(case: Case) -> None:
    looked = {"what": "partitions", "scheme": "gpt", "partitions": withheld(128), "findings": []}
    case.forge.act("evidence.inspected", {"what": "partitions"}, looked)
    text = said("facts", case.save())
    assert "0 partitions" not in text
    assert f"The list of partitions {UNSHOWN}." in text
    assert f"The list of partitions {UNSHOWN}." in said("html", case.save())


def test_a_table_that_came_out_otherwise_is_pointed_at(case: Case) -> None:
    for sizes in ((1024,), (1024,), (2048,)):
        looked = {"what": "partitions", "scheme": "dos", "partitions": partitions(*sizes), "findings": []}
        case.forge.act("evidence.inspected", {"what": "partitions"}, looked)
    view = case.save()
    assert [table.line for table in view.exhibits[0].otherwise] == [5, 7]
    assert "It came out differently at line 5." in said("html", view)
    assert "It came out differently when it was read on" in said("facts", view)


def test_the_same_table_read_twice_is_no_difference(case: Case) -> None:
    for what in ("container", "partitions"):
        facts = {"what": what, "scheme": "dos", "partitions": partitions(1024), "findings": []}
        case.forge.act("evidence.inspected", {"what": what}, facts)
    exhibit = case.save().exhibits[0]
    assert len(exhibit.tables) == 2
    assert exhibit.otherwise == ()


def test_a_long_note_is_shown_and_a_cut_one_says_where_the_rest_is(case: Case) -> None:
    for length in (20_000, 60_000):
        case.forge.event("note.added", case.enclose(b"word " * (length // 5) + b"end", "txt"))
    text = said("html", case.save())
    assert text.count("word end") == 1
    assert "… and 10,003 more characters in the log or its enclosures" in text

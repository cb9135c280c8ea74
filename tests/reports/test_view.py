"""CaseView: what joins a log's records into facts, also where they are late, missing, withheld or made up."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.record import encode_document
from imgkit.custody.verify import verify_log
from imgkit.custody.verify.lines import read_lines
from imgkit.errors import CustodyError
from imgkit.reports.folding import case_view
from tests.reports.forged import Case, added, view_of

if TYPE_CHECKING:
    from pathlib import Path

AT = {"utc": "2026-05-01T08:59:00.000000Z", "tz": "+02:00", "boot_us": 1, "boot_id": "b", "sync": "ok"}
DIGESTS = {"of": "media", "offset": 0, "length": 512, "digests": {"sha256": "0" * 64}}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A log that is opened and has one exhibit, in lines 1 to 3."""
    made = Case(tmp_path / "case")
    made.forge.open({"number": "7"})
    made.forge.act("evidence.added", added(), added())
    return made


def test_an_intent_and_its_outcome_are_one_act(case: Case) -> None:
    case.forge.act("evidence.hashed", {"of": "media"}, DIGESTS)
    act = case.save().acts[-1]
    assert (act.lines, act.result, act.fact_line) == ((4, 5), "ok", 5)
    assert act.asked == {"of": "media"}
    assert act.session.tool == "imgkit 0.1.0"


def test_an_act_that_nothing_closed_is_open(case: Case) -> None:
    case.forge.intent("evidence.hashed", {"of": "media"})
    assert (case.save().acts[-1].result, case.save().acts[-1].ended) == ("open", None)


def test_a_reconciled_act_has_the_result_that_was_seen(case: Case) -> None:
    op = case.forge.intent("evidence.attached", {"offset": 0})
    case.forge.event("op.reconciled", {"op": op, "line": 4, "result": "interrupted", "seen": {}})
    act = next(one for one in case.save().acts if one.line == 4)
    assert (act.result, act.reconciled) == ("interrupted", (5,))


def test_a_late_outcome_says_when_it_was(case: Case) -> None:
    op = case.forge.intent("evidence.hashed", {"of": "media"})
    case.forge.outcome(op, "evidence.hashed", DIGESTS | {"at": AT}, late=True)
    act = case.save().acts[-1]
    assert act.late
    assert act.when.utc == AT["utc"]
    assert act.begun == act.time, "its intent was not late"
    assert act.written == act.ended


def test_an_act_that_is_late_as_a_whole_was_begun_when_it_says(case: Case) -> None:
    earlier = {"at": {**AT, "utc": "2026-05-01T07:00:00.000000Z"}}
    op = case.forge.intent("evidence.hashed", {"of": "media"} | earlier, late=True)
    case.forge.outcome(op, "evidence.hashed", DIGESTS | {"at": AT}, late=True)
    act = case.save().acts[-1]
    assert (act.begun.utc, act.when.utc) == ("2026-05-01T07:00:00.000000Z", AT["utc"])
    assert act.written == act.ended


def test_an_outcome_that_nothing_announced_stands_alone(case: Case) -> None:
    case.forge.outcome(case.forge.uuid(), "evidence.hashed", DIGESTS)
    act = case.save().acts[-1]
    assert (act.line, act.result, act.is_event) == (4, "ok", False)


def test_an_exhibit_whose_addition_failed_is_none(case: Case) -> None:
    op = case.forge.intent("evidence.added", added(), exhibit="EX2")
    case.forge.outcome(op, "evidence.added", {}, result="failed", exhibit="EX2")
    assert [exhibit.name for exhibit in case.save().exhibits] == ["EX1"]


def test_a_digest_of_no_sound_state_is_told_apart(case: Case) -> None:
    case.forge.act("evidence.hashed", {}, DIGESTS | {"changed": ["/evidence/a.dd"]})
    case.forge.act("evidence.hashed", {}, DIGESTS | {"read_errors": [{"offset": 0, "length": 1}]})
    case.forge.act("evidence.hashed", {}, DIGESTS)
    assert [one.sound for one in case.save().exhibits[0].own] == [False, False, True]


@pytest.mark.parametrize("there", [True, False])
def test_a_list_in_an_enclosure_is_put_in_its_place_where_it_is_there(case: Case, there: bool) -> None:
    parts = [{"number": number, "offset": number, "length": 1, "type": "0x83"} for number in range(1, 131)]
    kept = case.enclose(encode_document(parts), "json")
    reference = {"count": 130, "sha256": kept["sha256"], "enclosure": kept["enclosure"]}
    case.forge.act("evidence.inspected", {}, {"scheme": "gpt", "partitions": reference, "findings": []})
    if not there:
        (case.folder / "enclosures" / kept["enclosure"]).write_bytes(b"something else")
    table = case.save().exhibits[0].table
    assert table is not None
    assert len(table.partitions) == (130 if there else 0)
    assert table.withheld == (() if there else ("partitions",))


def test_a_note_whose_text_is_withheld_says_so(case: Case) -> None:
    kept = case.enclose(b"text", "txt")
    case.forge.event("note.added", kept)
    assert case.save().enclosed[0].text == "text"
    (case.folder / "enclosures" / kept["enclosure"]).unlink()
    note = case.save().enclosed[0]
    assert (note.text, note.withheld) == ("", True)


def test_an_attachment_ends_with_what_ended_it(case: Case) -> None:
    first = case.forge.attach()
    case.forge.detach(first)
    second = case.forge.attach()
    case.forge.event("evidence.gone", {"attached_line": second})
    case.forge.attach()
    assert [one.ending for one in case.save().attachments] == ["detached", "gone", "open"]


def test_an_exposed_file_ends_with_what_ended_it(case: Case) -> None:
    lines = []
    for _ in range(3):
        lines.append(len(case.forge.lines) + 1)
        case.forge.act("evidence.exposed", {"target": "/x"}, {"target": "/x", "file": "/x/a.raw"})
    case.forge.act("evidence.unexposed", {"exposed_line": lines[0]}, {"exposed_line": lines[0]})
    case.forge.event("evidence.gone", {"exposed_line": lines[1]})
    shown = case.save().attachments
    assert [(one.line, one.ending) for one in shown] == list(
        zip(lines, ("unexposed", "gone", "open"), strict=True)
    )


def test_a_correction_is_found_from_the_line_it_corrects(case: Case) -> None:
    said = {"line": 2, "field": "data.description", "was": "a", "now": "b", "why": "misread"}
    case.forge.event("correction.added", said, exhibit="EX1")
    view = case.save()
    assert view.exhibits[0].corrections == view.corrections
    assert (view.corrections[0].line, view.corrections[0].of, view.corrections[0].now) == (4, 2, "b")


def test_an_event_of_several_exhibits_is_each_ones(case: Case) -> None:
    case.forge.act("evidence.added", added("/e/b.dd"), added("/e/b.dd"), exhibit="EX2")
    case.forge.event(
        "custody.stored", {"place": "safe", "exhibits": [{"exhibit": "EX1"}, {"exhibit": "EX2"}]}
    )
    view = case.save()
    assert [len(exhibit.possession) for exhibit in view.exhibits] == [1, 1]


@pytest.mark.parametrize(
    "data",
    [
        {"files": "none", "stated": {"digest": 1}, "source": [1], "size": "many"},
        {"files": [1, "x"], "stated": [{"digest": 5}], "stored_digests": ["a"], "size": True},
    ],
)
def test_fields_of_the_wrong_kind_are_no_reason_to_fail(case: Case, data: dict[str, Any]) -> None:
    case.forge.act("evidence.added", data, data, exhibit="EX2")
    wrong = {"digests": [1], "comparisons": ["x"], "read_errors": {"a": 1}, "verdict": ["y"]}
    case.forge.act("evidence.verified", wrong, wrong, exhibit="EX2")
    table = {"scheme": "gpt", "partitions": [{"filesystem": 5, "offset": "x"}], "findings": ["x"]}
    case.forge.act("evidence.inspected", table, table, exhibit="EX2")
    assert case.save().exhibits[1].name == "EX2"


def test_a_log_that_changed_after_its_verification_is_refused(case: Case) -> None:
    case.save()
    found, text = verify_log(case.folder), case.forge.text
    edited = text.replace(b'"number":"7"', b'"number":"8"')
    last = text.replace(b"laptop.dd", b"laptop.de")
    cut = text[: -len(case.forge.lines[-1])]
    for other in (edited, last, cut, b""):
        with pytest.raises(CustodyError, match="changed between"):
            case_view(read_lines(io.BytesIO(other), found.bytes), found, enclosures=lambda *_: None)


def test_the_view_of_a_copy_is_the_same(case: Case, tmp_path: Path) -> None:
    view = case.save()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "custody.jsonl").write_bytes(case.forge.text)
    assert view_of(tmp_path / "copy") == view

"""A sealed log takes what ends or dates what is there, and nothing else, until it is reopened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.schema import EVENT, INTENT, TYPES
from imgkit.custody.seal import TAKEN_BY_A_SEALED_LOG
from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from tests.custody.conftest import Office

HASHED = {"digests": {"sha256": "0" * 64}}


def refused(call: Any, *words: Any) -> None:
    with pytest.raises(CustodyError) as told:
        call(*words)
    assert told.value.code == "SEALED"
    assert "reopen" in str(told.value.hint)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_type(office: Office, kind: str) -> None:
    """Of each type it is known whether a sealed log takes it; what it takes is about what is there already."""
    log = office.create()
    log.event("case.sealed", {})
    taken = kind in TAKEN_BY_A_SEALED_LOG
    if INTENT in TYPES[kind]:
        if taken:
            log.intent(kind, {})
        else:
            refused(log.intent, kind, {})
    elif not taken and kind not in {"log.opened", "case.opened"} and EVENT in TYPES[kind]:
        data = {"sha256": "0" * 64, "line": 1, "field": "data.title", "why": "x"}
        refused(log.event, kind, data)
    office.check()


def test_what_had_begun_comes_to_its_end(office: Office) -> None:
    log = office.create()
    intent = log.intent("evidence.hashed", {})
    log.event("case.sealed", {})
    log.outcome(intent, "ok", HASHED)
    refused(log.intent, "evidence.hashed", {})
    office.check()


def test_another_run_and_another_memory_see_the_seal(office: Office) -> None:
    log = office.create()
    log.event("note.added", {"sha256": "0" * 64})  # this run has looked, and there was none
    other = office.open()
    other.event("case.sealed", {})
    refused(log.event, "note.added", {"sha256": "0" * 64})
    refused(office.open().event, "case.sealed", {})


def test_reopened_and_sealed_again(office: Office) -> None:
    log = office.create()
    with pytest.raises(CustodyError, match="not sealed"):
        log.event("case.reopened", {})
    log.event("case.sealed", {})
    log.event("case.reopened", {}, reason="appeal")
    log.event("note.added", {"sha256": "0" * 64})
    log.event("case.sealed", {})
    refused(log.event, "note.added", {"sha256": "0" * 64})
    refused(office.open().event, "note.added", {"sha256": "0" * 64})
    office.check()


def test_words_about_seals_are_no_seal(office: Office) -> None:
    log = office.create()
    log.event("custody.stored", {"place": '"type":"case.sealed"', "type": "case.sealed"})
    log.event("note.added", {"sha256": "0" * 64})


def test_a_torn_seal_is_none(office: Office) -> None:
    """A kill while the seal was written: the next run closes the torn line, and the case is not sealed."""
    log = office.create()
    before = office.log_file.stat().st_size
    log.event("case.sealed", {})
    whole = office.log_file.read_bytes()
    office.log_file.write_bytes(whole[:-5])
    assert len(whole) - 5 > before
    for path in office.case.parent.rglob("heads/*.json"):
        path.unlink()
    office.open().event("note.added", {"sha256": "0" * 64})

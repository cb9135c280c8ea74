"""Receipts given and taken, stamps kept: names, records, modes, and what a crash at any point leaves."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody import checkpoint_files
from imgkit.custody.anchoring import Anchored, anchor, point_of, sums_of_point, tsa_name
from imgkit.custody.checkpoint import Receipt
from imgkit.custody.checkpoints import make_checkpoint
from imgkit.custody.receipts import find_receipt, give, take
from imgkit.custody.recorded import Recorded, checkpoints_of
from imgkit.custody.stamps import check_reply, request
from imgkit.errors import CustodyError, UsageError
from tests.custody.tsa import NOW, Authority, make_info, make_reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.custody.log import CustodyLog
    from tests.custody.conftest import Office, Traced

    Trace = Callable[..., Traced]

OTHER = Receipt("11111111-2222-4333-8444-555555555555", 57, 41_873, "a" * 64, "b" * 64)


@pytest.fixture
def log(office: Office) -> CustodyLog:
    return office.create()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa"))


def point(log: CustodyLog) -> Recorded:
    """A checkpoint of the log, as its record has it."""
    made = make_checkpoint(log, reason="test", signer=None)
    return checkpoints_of(log).chosen(made.checkpoint.n)


def stamped(log: CustodyLog, at: Recorded, authority: Authority, *, tsa: str = "tsa.example") -> Anchored:
    sums = sums_of_point(log, at)
    reply = make_reply(authority.signer, make_info(sums, 7, NOW))
    return anchor(log, at, reply, check_reply(reply, sums=sums, roots=authority.roots), tsa=tsa)


def data_of(office: Office, kind: str) -> list[dict[str, Any]]:
    return [record["data"] for record in office.records() if record["type"] == kind]


def names(office: Office, place: str) -> list[str]:
    return sorted(os.listdir(office.case / place))


# -- given ---------------------------------------------------------------------------------------------------------------


def test_given(office: Office, log: CustodyLog) -> None:
    made = make_checkpoint(log, reason="receipt", signer=None)
    given = give(log, made.checkpoint, to="Mr Roe <roe@defence.example>")
    text = f"{made.checkpoint.receipt}\n".encode()
    path = office.case / "receipts" / "given-000001.txt"
    assert path.read_bytes() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert (given.path, given.receipt) == (str(path), made.checkpoint.receipt)
    assert data_of(office, "receipt.given") == [
        {
            "n": 1,
            "size": 1,
            "bytes": made.checkpoint.bytes,
            "head": made.checkpoint.head,
            "file": made.checkpoint.file,
            "to": "Mr Roe <roe@defence.example>",
            "name": "given-000001.txt",
            "text": hashlib.sha256(text).hexdigest(),
        }
    ]
    assert office.records()[given.line - 1]["type"] == "receipt.given"
    office.check()


def test_given_to_two_it_is_one_file_and_two_records(office: Office, log: CustodyLog) -> None:
    at = point(log)
    for name in ("Roe", "Poe"):
        give(log, at, to=name)
    assert names(office, "receipts") == ["given-000001.txt"]
    assert [data["to"] for data in data_of(office, "receipt.given")] == ["Roe", "Poe"]
    office.check()


def test_of_another_log_none_is_given(log: CustodyLog) -> None:
    other = Recorded(1, OTHER.log, 1, 1, "a" * 64, "a" * 64, "b" * 64, None, 2)
    with pytest.raises(CustodyError, match="is of log"):
        give(log, other)


# -- taken ---------------------------------------------------------------------------------------------------------------


def test_taken(office: Office, log: CustodyLog) -> None:
    taken = take(log, f"  {OTHER}\n", sender="Lab B")
    path = office.case / "receipts" / "taken-11111111-57.txt"
    assert path.read_text() == f"{OTHER}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    (data,) = data_of(office, "receipt.taken")
    assert (data["log"], data["size"], data["from"], data["name"]) == (OTHER.log, 57, "Lab B", path.name)
    assert data["text"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (taken.path, taken.receipt, taken.notices) == (str(path), OTHER, ())
    office.check()


def test_taken_twice(office: Office, log: CustodyLog) -> None:
    for _again in range(2):
        assert take(log, str(OTHER)).notices == ()
    assert names(office, "receipts") == ["taken-11111111-57.txt"]


def test_two_that_differ_are_kept_both_and_said(office: Office, log: CustodyLog) -> None:
    take(log, str(OTHER))
    fork = Receipt(OTHER.log, OTHER.size, OTHER.bytes, "c" * 64, OTHER.file)
    taken = take(log, str(fork))
    assert "says otherwise" in taken.notices[0]
    assert len(names(office, "receipts")) == 2
    assert (office.case / "receipts" / os.path.basename(taken.path)).read_text() == f"{fork}\n"
    office.check()


def test_ones_own_is_not_taken(office: Office, log: CustodyLog) -> None:
    at = point(log)
    before = office.lines()
    with pytest.raises(UsageError, match="this very log"):
        take(log, str(at.receipt))
    assert office.lines() == before


@pytest.mark.parametrize(
    "text",
    [
        str(OTHER),
        str(OTHER).upper(),
        str(OTHER).replace(" ", "\n"),
        f"Dear colleague,\r\n\r\nthis is ours:\r\n{OTHER}\r\n-- \r\nJane",
        f"{OTHER}\n{OTHER}\n",
        f"\ufeff {OTHER}",
    ],
)
def test_a_receipt_is_found_in_what_came(text: str) -> None:
    assert find_receipt(text) == OTHER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "imgkit-receipt/1",
        str(OTHER)[:-1],
        str(OTHER).replace("57", "057"),
        f"{OTHER}0",
        str(OTHER).replace("/1", "/2"),
        f"{OTHER}\n{str(OTHER).replace('57', '58')}",
        f"> {str(OTHER).replace(' ', ' > ')}",
    ],
)
def test_no_receipt(log: CustodyLog, office: Office, text: str) -> None:
    with pytest.raises(CustodyError):
        take(log, text)
    assert len(office.lines()) == 1
    assert names(office, "receipts") == []


# -- checkpoints as recorded ---------------------------------------------------------------------------------------------


def test_what_is_stamped_is_known_from_the_record_alone(office: Office, log: CustodyLog) -> None:
    at = point(log)
    path = office.case / "checkpoints" / "000001.sums"
    assert at.sums == path.read_bytes() == sums_of_point(log, at)
    path.unlink()
    assert sums_of_point(log, at) == at.sums
    path.write_bytes(at.sums.replace(b"0", b"1"))
    with pytest.raises(CustodyError) as caught:
        sums_of_point(log, at)
    assert caught.value.code == "SUMS"


def test_whether_all_is_covered(log: CustodyLog) -> None:
    assert not checkpoints_of(log).settled
    at = point(log)
    assert checkpoints_of(log).settled
    give(log, at)
    assert checkpoints_of(log).settled
    take(log, str(OTHER))
    assert not checkpoints_of(log).settled
    assert checkpoints_of(log).chosen(1) == at
    second = point(log)
    assert (second.n, checkpoints_of(log).settled) == (2, True)


def test_what_another_run_wrote_between_is_not_covered(
    log: CustodyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = log.event_unless

    def slow(*words: Any, **options: Any) -> int | None:
        log.event("evidence.gone", {"attached_line": 1})
        return before(*words, **options)

    monkeypatch.setattr(log, "event_unless", slow)
    make_checkpoint(log, reason="test", signer=None)
    assert not checkpoints_of(log).settled


def test_without_a_checkpoint_it_is_said_how_to_make_one(log: CustodyLog) -> None:
    with pytest.raises(CustodyError) as caught:
        checkpoints_of(log).chosen(None)
    assert caught.value.hint == "imgkit log checkpoint makes one"
    point(log)
    with pytest.raises(CustodyError, match="no checkpoint 7"):
        checkpoints_of(log).chosen(7)


# -- stamps kept ---------------------------------------------------------------------------------------------------------


def test_anchored(office: Office, log: CustodyLog, authority: Authority) -> None:
    at = point(log)
    query = request(at.sums)
    reply = authority.reply(query.der)
    facts = check_reply(reply, sums=at.sums, nonce=query.nonce, roots=authority.roots)
    kept = anchor(log, at, reply, facts, tsa="tsa.example")
    path = office.case / "checkpoints" / "000001.sums.tsa.example.tsr"
    assert kept.path == str(path)
    assert path.read_bytes() == reply
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    (data,) = data_of(office, "log.anchored")
    assert data == {
        "n": 1,
        "tsa": "tsa.example",
        "time": facts.time,
        "serial": facts.serial,
        "policy": facts.policy,
        "name": "Test TSA",
        "file": path.name,
        "sha256": hashlib.sha256(reply).hexdigest(),
        "sums": hashlib.sha256(at.sums).hexdigest(),
        "trusted": True,
    }
    office.check()


def test_nobody_who_did_not_look_says_trusted(office: Office, log: CustodyLog, authority: Authority) -> None:
    at = point(log)
    reply = make_reply(authority.signer, make_info(at.sums, 7, NOW))
    anchor(log, at, reply, check_reply(reply, sums=at.sums), tsa="x")
    assert "trusted" not in data_of(office, "log.anchored")[0]


def test_several_authorities_each_once(office: Office, log: CustodyLog, authority: Authority) -> None:
    at = point(log)
    for tsa in ("one", "two"):
        stamped(log, at, authority, tsa=tsa)
    with pytest.raises(CustodyError, match="already"):
        stamped(log, at, authority, tsa="two")
    assert [name for name in names(office, "checkpoints") if name.endswith(".tsr")] == [
        "000001.sums.one.tsr",
        "000001.sums.two.tsr",
    ]
    office.check()


def test_what_does_not_fit_is_not_kept(office: Office, log: CustodyLog, authority: Authority) -> None:
    at = point(log)
    reply = make_reply(authority.signer, make_info(b"other", 7, NOW))
    lines = office.lines()
    with pytest.raises(CustodyError, match="refused") as caught:
        anchor(log, at, reply, check_reply(reply, sums=at.sums), tsa="x")
    assert caught.value.code == "BAD_TIMESTAMP"
    assert office.lines() == lines


def test_a_reply_finds_its_checkpoint(log: CustodyLog, authority: Authority) -> None:
    first, second = point(log), point(log)
    found = checkpoints_of(log)
    for at in (first, second):
        assert point_of(found, make_reply(authority.signer, make_info(at.sums, 7, NOW)), None) == at
    assert point_of(found, b"nothing", None) == second
    assert point_of(found, make_reply(authority.signer, make_info(first.sums, 7, NOW)), 2) == second


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tsa.example", "tsa.example"),
        ("TSA.Example", "tsa.example"),
        ("::1", "1"),
        ("../../etc/passwd", "etc-passwd"),
        ("DigiCert SHA256 Timestamp\n\x1b[31m", "digicert-sha256-timestamp-31m"),
        ("a" * 200, "a" * 64),
        (".hidden", "hidden"),
    ],
)
def test_names_of_authorities(text: str, name: str) -> None:
    assert tsa_name(text) == name


@pytest.mark.parametrize("text", ["", "..", "\u202e", "日本"])
def test_what_cannot_name_an_authority(text: str) -> None:
    with pytest.raises(UsageError):
        tsa_name(text)


# -- crashes -------------------------------------------------------------------------------------------------------------


def killed(*_words: Any, **_options: Any) -> Any:
    raise KeyboardInterrupt


def act(log: CustodyLog, at: Recorded, authority: Authority, what: str) -> None:
    if what == "stamp":
        stamped(log, at, authority)
    elif what == "given":
        give(log, at)
    else:
        take(log, str(OTHER))


KINDS = {"stamp": "log.anchored", "given": "receipt.given", "taken": "receipt.taken"}
FILES = {
    "stamp": "checkpoints/000001.sums.tsa.example.tsr",
    "given": "receipts/given-000001.txt",
    "taken": "receipts/taken-11111111-57.txt",
}


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("where", ["before the record", "before the name"])
def test_killed(
    office: Office, authority: Authority, monkeypatch: pytest.MonkeyPatch, what: str, where: str
) -> None:
    """Whenever it is killed, no file is there that nothing names; the next append names what has a record."""
    log = office.create()
    at = point(log)
    with monkeypatch.context() as patch:
        if where == "before the record":
            patch.setattr(log, "event", killed)
            patch.setattr(log, "event_unless", killed)
        else:
            patch.setattr(checkpoint_files, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            act(log, at, authority, what)
    path: Path = office.case / FILES[what]
    assert not path.exists()
    office.check()
    assert len(data_of(office, KINDS[what])) == (where == "before the name")
    office.open().event("evidence.gone", {"attached_line": 1})
    assert path.exists() == (where == "before the name")
    office.check()
    if where == "before the record":  # and it can be done again
        act(log, at, authority, what)
        assert path.exists()
        office.check()


def check_either(office: Office) -> None:
    """A file has its name only if a record names it; what a record names is there, under its name or beside it."""
    named = {
        path.name for place in ("checkpoints", "receipts") for path in (office.case / place).glob("[!.]*")
    }
    aside = {path.name.split(".")[1] for path in office.case.glob("receipts/.*.tmp")}
    aside |= {path.name[1:-41] for path in office.case.glob("checkpoints/.*.tmp")}
    told = {data["file"] for data in data_of(office, "log.anchored")}
    told |= {data["name"] for data in data_of(office, "receipt.taken")}
    assert {name for name in named if name.endswith(".tsr") or name.startswith("taken")} <= told
    assert {name.removesuffix(".txt") for name in told} <= {
        name.removesuffix(".txt") for name in named | aside
    }


@pytest.mark.parametrize("what", ["stamp", "taken"])
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
def test_a_fault_at_every_call(
    office: Office, authority: Authority, tracer: Trace, what: str, fault: str
) -> None:
    log, calls, tried, before = office.create(), ("openat", "write", "fsync", "renameat2"), 0, 0
    at = point(log)
    reply = make_reply(authority.signer, make_info(at.sums, 7, NOW))
    facts = check_reply(reply, sums=at.sums)

    def attempt() -> int:
        try:
            if what == "stamp":
                anchor(log, at, reply, facts, tsa=f"tsa-{tried}")
            else:
                take(log, str(Receipt(OTHER.log, tried, 1, OTHER.head, OTHER.file)))
        except CustodyError:
            return 3
        return 0

    run = tracer(attempt)
    assert run.code == 0
    counts = Counter(line.split(None, 1)[1].partition("(")[0] for line in run.calls)
    for call in calls:
        for number in range(1, counts[call] + 1):
            tried += 1
            run = tracer(attempt, inject=f"{call}:{fault}:when={number}")
            assert run.code in (0, 3, -9, 99), run.calls[-3:]
            check_either(office)
            if len(left := list(office.case.glob("*/.*.tmp"))) > before:
                office.check()
            before = len(left)
            office.open().event("evidence.gone", {"attached_line": 1})
            check_either(office)
        office.check()
    assert tried >= 8


def test_a_full_disk_leaves_nothing(office: Office, log: CustodyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    at, lines = point(log), office.lines()

    def full(*_words: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_files, "write_aside", full)
    with pytest.raises(CustodyError, match="No space left"):
        give(log, at)
    assert names(office, "receipts") == []
    assert office.lines() == lines


def test_a_name_that_somebody_took_meanwhile_is_told(office: Office, log: CustodyLog) -> None:
    at = point(log)
    (office.case / "receipts" / "given-000001.txt").write_text("something else\n")
    (notice,) = give(log, at).notices
    assert "holds other bytes" in notice
    assert (office.case / "receipts" / "given-000001.txt").read_text() == "something else\n"

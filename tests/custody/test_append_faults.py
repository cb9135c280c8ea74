"""What a crash, a full disk or a failing one may do to an append: an act implies a durable intent, exit 0 an outcome."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.errors import CustodyError, OutcomeSpooled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgkit.custody.acts import Intent
    from imgkit.custody.log import CustodyLog
    from tests.custody.conftest import Office, Traced

    Trace = Callable[..., Traced]

NOTE = {"sha256": "0" * 64}
PATHS = ("custody.jsonl", "/heads/", "/sessions/", "/spool/")


def act_once(office: Office, marker: Path) -> Callable[[], int]:
    """One whole act, as the command line does it: intent, act (the marker), outcome; 0, or 3 where that failed."""

    def act() -> int:
        try:
            log = office.open()
            intent = log.intent("evidence.hashed", {"path": "/evidence/disk.img"})
            marker.write_text(intent.op)
            log.outcome(intent, "ok", {"digests": {"sha256": "0" * 64}})
        except CustodyError:
            return 3
        return 0

    return act


def recorded(office: Office, op: str) -> set[str]:
    """The phases of the op that ends so (a fault may have cut the marker)."""
    return {record["phase"] for record in office.records() if str(record.get("op")).endswith(op)}


def spooled(office: Office, op: str) -> bool:
    return any(op in path.read_text() for path in Path(office.state.path).glob("spool/*/*.json"))


def check_promises(office: Office, marker: Path, code: int) -> None:
    """After any fault: what was acknowledged is there, and the next run goes on with a log that verifies."""
    op = marker.read_text() if marker.exists() and marker.stat().st_size else None
    if op is not None:
        assert "intent" in recorded(office, op), "an act without its intent"
    if code == 0:
        assert op is not None
        assert recorded(office, op) == {"intent", "outcome"}, "exit 0 without the outcome"
    if code == 3 and op is not None:
        assert spooled(office, op) or "outcome" in recorded(office, op), "an outcome that nobody has"
    log = office.open()
    log.import_spool()
    log.event("note.added", NOTE)
    office.check_chain()
    office.check()
    if code == 3 and op is not None:
        assert recorded(office, op) == {"intent", "outcome"}


def calls_of(office: Office, tracer: Trace, tmp_path: Path) -> Counter[str]:
    """How often an undisturbed act makes each call."""
    marker = tmp_path / "undisturbed"
    run = tracer(act_once(office, marker))
    assert run.code == 0
    return Counter(line.split(None, 1)[1].partition("(")[0] for line in run.calls)


CALLS = (
    "openat",
    "newfstatat",
    "flock",
    "pread64",
    "fallocate",
    "write",
    "fsync",
    "rename",
    "close",
)
FAULTS = [
    *(("error=EIO", call) for call in CALLS),
    *(("error=ENOSPC", call) for call in ("openat", "fallocate", "write", "fsync", "rename")),
    *(("error=EDQUOT", call) for call in ("fallocate", "write")),
    ("retval=5", "write"),
    *(("signal=KILL", call) for call in CALLS),
]


@pytest.mark.parametrize(("fault", "call"), FAULTS, ids=[f"{call}-{fault}" for fault, call in FAULTS])
def test_a_fault_at_every_call(office: Office, tracer: Trace, tmp_path: Path, fault: str, call: str) -> None:
    office.create()
    count = calls_of(office, tracer, tmp_path)[call]
    assert count > 0
    for number in range(1, count + 1):
        marker = tmp_path / f"marker-{number}"
        run = tracer(act_once(office, marker), inject=f"{call}:{fault}:when={number}")
        assert run.code in (0, 3, -9, 99), run.calls[-3:]
        if run.code == 99:  # the fault hit what is no part of the log: the marker, /proc, or Python itself
            assert not any(path in disturbed(run, call) for path in PATHS), disturbed(run, call)
        assert run.code == -9 if "KILL" in fault else disturbed(run, call)
        check_promises(office, marker, run.code)


def disturbed(run: Traced, call: str) -> str:
    return next((line for line in run.named(call) if "INJECTED" in line), "")


@pytest.mark.parametrize("fault", ["error=EIO", "signal=KILL"])
def test_a_fault_at_every_call_for_an_enclosure(office: Office, tracer: Trace, fault: str) -> None:
    """A long list: the record and its enclosure are both there, or neither is named."""
    log = office.create()

    def enclose(number: int) -> Callable[[], int]:
        def act() -> int:
            try:
                log.event("custody.stored", {"entries": [number] * 101})
            except CustodyError:
                return 3
            return 0

        return act

    run = tracer(enclose(0))
    assert run.code == 0
    counts = Counter(line.split(None, 1)[1].partition("(")[0] for line in run.calls)
    for call in ("openat", "write", "fsync", "renameat2", "rename", "newfstatat"):
        for number in range(1, counts[call] + 1):
            run = tracer(enclose(number * 100 + len(call)), inject=f"{call}:{fault}:when={number}")
            assert run.code in (0, 3, -9)
            office.open().event("custody.stored", {})
            assert "ENCLOSURE_WITHHELD" not in office.check()
    named = {
        record["data"]["entries"]["enclosure"] for record in office.records() if "entries" in record["data"]
    }
    assert named == {path.name for path in office.case.glob("enclosures/[!.]*")}


def test_one_fsync_of_the_log_a_record(office: Office, tracer: Trace) -> None:
    office.create()

    def act() -> int:
        log = office.open()
        log.outcome(log.intent("evidence.hashed", {}), "ok", {"digests": {}})
        log.event("note.added", NOTE)
        return 0

    run = tracer(act)
    assert run.code == 0
    names = [line.split(None, 1)[1].partition("(")[0] for line in run.calls if "/custody.jsonl>" in line]
    assert [name for name in names if name in ("write", "fsync")] == ["write", "fsync"] * 3
    heads = [line.split(None, 1)[1].partition("(")[0] for line in run.calls if "/heads/" in line]
    assert [name for name in heads if name in ("write", "fsync", "rename")] == [
        "write",
        "fsync",
        "rename",
    ] * 3


def test_an_enclosure_is_durable_before_its_record_and_named_after(office: Office, tracer: Trace) -> None:
    log = office.create()

    def act() -> int:
        log.event("custody.stored", {"entries": [1] * 101})
        return 0

    run = tracer(act)
    assert run.code == 0
    steps = [
        (line.split(None, 1)[1].partition("(")[0], "custody.jsonl" in line)
        for line in run.calls
        if "/enclosures" in line or "custody.jsonl>" in line
    ]
    ours = [step for step in steps if step[0] in ("write", "fsync", "renameat2")]
    assert ours == [
        ("write", False), ("fsync", False), ("write", True), ("fsync", True), ("renameat2", False), ("fsync", False),
    ]  # fmt: skip


def test_a_spooled_outcome_is_durable_with_its_name(office: Office, tracer: Trace) -> None:
    log = office.create()
    intent = log.intent("evidence.hashed", {})
    office.log_file.unlink()

    def act() -> int:
        with pytest.raises(OutcomeSpooled):
            log.outcome(intent, "ok", {"digests": {}})
        return 0

    run = tracer(act)
    assert run.code == 0
    steps = [line.split(None, 1)[1].partition("(")[0] for line in run.calls if f"/spool/{log.uuid}" in line]
    assert [step for step in steps if step in ("write", "fsync", "rename")] == [
        "write",
        "fsync",
        "rename",
        "fsync",
    ]


def test_an_append_reads_the_last_line_of_however_many(memory_office: Office, tracer: Trace) -> None:
    log = memory_office.create()
    for _ in range(500):
        log.event("note.added", NOTE)

    def act() -> int:
        log.event("note.added", NOTE)
        return 0

    run = tracer(act)
    read = [int(line.rpartition("= ")[2]) for line in run.named("pread64", "custody.jsonl")]
    assert read == [len(memory_office.lines()[500])]


def test_the_order_of_an_append(office: Office, tracer: Trace) -> None:
    office.create()

    def act() -> int:
        office.open().intent("evidence.hashed", {})
        return 0

    run = tracer(act)
    steps = [
        line.split(None, 1)[1].partition("(")[0]
        for line in run.calls
        if "custody.jsonl" in line or "/heads/" in line
    ]
    ours = [step for step in steps if step in ("flock", "fallocate", "write", "fsync", "rename")]
    assert ours == ["flock", "fallocate", "write", "fsync", "write", "fsync", "rename"]
    opened = next(line for line in run.named("openat", "custody.jsonl") if "O_RDWR" in line)
    assert all(flag in opened for flag in ("O_APPEND", "O_CLOEXEC", "O_NOFOLLOW"))


def test_creation_leaves_no_empty_log(
    office_at: Callable[..., Office], tracer: Trace, tmp_path: Path
) -> None:
    """Killed before every call of a creation, the log is absent or holds its first record, and can be made."""

    def creation(office: Office) -> Callable[[], int]:
        def act() -> int:
            office.create()
            return 0

        return act

    run = tracer(creation(office_at(tmp_path / "whole")))
    assert run.code == 0
    assert len(run.named("fsync", "/.custody.")) == 1
    named = next(
        index for index, line in enumerate(run.calls) if "renameat2" in line and "custody.jsonl" in line
    )
    assert any("fsync(" in line and "/case>" in line for line in run.calls[named:]), "the name is not durable"
    counts = Counter(line.split(None, 1)[1].partition("(")[0] for line in run.calls)
    for call in ("write", "fsync", "renameat2", "mkdir"):
        for number in range(1, counts[call] + 1):
            office = office_at(tmp_path / f"{call}-{number}")
            killed = tracer(creation(office), inject=f"{call}:signal=KILL:when={number}")
            assert killed.code == -9
            if office.log_file.exists():
                assert office.check_chain()[0]["type"] == "case.opened"
                office.open().event("note.added", NOTE)
            else:
                office.create()
            office.check()


@pytest.mark.parametrize("errno", ["EINVAL", "ENOSYS"])
def test_creation_without_rename_noreplace(office: Office, tracer: Trace, errno: str) -> None:
    def act() -> int:
        office.create()
        return 0

    assert tracer(act, inject=f"renameat2:error={errno}", calls="renameat2,link,linkat").code == 0
    assert [path.name for path in office.case.glob(".*")] == []
    office.open().event("note.added", NOTE)
    office.check()


def test_creation_without_links(office: Office, tracer: Trace) -> None:
    def act() -> int:
        office.create()
        return 0

    run = tracer(act, inject="renameat2,linkat,link:error=EOPNOTSUPP", calls="renameat2,link,linkat")
    assert run.code == 0
    office.open().event("note.added", NOTE)
    office.check()


def test_a_crash_between_link_and_unlink_is_finished(office: Office) -> None:
    log = office.create()
    os.link(office.log_file, office.case / f".custody.{log.uuid}.tmp")
    office.open().event("note.added", NOTE)
    assert office.log_file.stat().st_nlink == 1


def base_of_cuts(office: Office) -> tuple[bytes, bytes]:
    """A log of two records, and the line that will be cut; this host remembers the two."""
    log = office.create()
    log.event("note.added", NOTE)
    whole = office.log_file.read_bytes()
    head = next(Path(office.state.path).glob("heads/*.json"))
    kept = head.read_bytes()
    log.event("note.added", NOTE | {"text": "the line that is cut"})
    line = office.log_file.read_bytes()[len(whole) :]
    head.write_bytes(kept)
    return whole, line


@pytest.mark.parametrize("filled", [False, True], ids=["cut", "nul"])
@pytest.mark.parametrize("remembers", [True, False], ids=["memory", "no-memory"])
def test_a_cut_at_every_byte(memory_office: Office, *, filled: bool, remembers: bool) -> None:
    office = memory_office
    whole, line = base_of_cuts(office)
    head = next(Path(office.state.path).glob("heads/*.json"))
    kept = head.read_bytes()
    log = office.open()
    for cut in range(1, len(line)):
        torn = line[:cut] + (bytes(len(line) - cut) if filled else b"")
        office.log_file.write_bytes(whole + torn)
        head.write_bytes(kept) if remembers else head.unlink()
        seq = log.event("note.added", NOTE)
        records = office.check_chain()
        if cut == len(line) - 1 and not filled:  # only the LF is missing: the record counts
            assert [record["type"] for record in records[2:]] == ["note.added", "note.added"]
            assert seq == 4
            continue
        assert [record["type"] for record in records[2:]] == ["log.recovered", "note.added"]
        data = records[2]["data"]
        assert (data["last_good"], seq) == (2, 5)
        assert data["head"] == hashlib.sha256(whole.splitlines(keepends=True)[1]).hexdigest()
        assert [entry["line"] for entry in data["torn"]] == [3]
        assert data["torn"][0]["sha256"] == records[2]["prev"]
    office.check()


def test_a_torn_line_with_its_lf_gets_no_second_one(office: Office) -> None:
    whole, line = base_of_cuts(office)
    office.log_file.write_bytes(whole + line[:40] + bytes(20) + b"\n")
    office.open().event("note.added", NOTE)
    assert len(office.lines()) == 5
    office.check_chain()
    office.check()


def test_crashes_during_recovery(office: Office, tracer: Trace, tmp_path: Path) -> None:
    """The log.recovered is torn itself, again and again: every torn line is named in the end."""
    whole, line = base_of_cuts(office)
    office.log_file.write_bytes(whole + line[:100])
    for number in range(12):
        before = office.log_file.read_bytes()
        office.open().event("note.added", NOTE)
        recovery = office.log_file.read_bytes()[len(before) :].split(b"\n")[1]
        office.log_file.write_bytes(before + b"\n" + recovery[: 50 + 90 * number])
        next(Path(office.state.path).glob("heads/*.json")).unlink()
    office.open().event("note.added", NOTE)
    data = office.check_chain()[-2]["data"]
    assert data["last_good"] == 2
    assert [entry["line"] for entry in data["torn"]] == list(range(3, 16))
    office.check()


def test_killed_during_recovery(office: Office, tracer: Trace, tmp_path: Path) -> None:
    whole, line = base_of_cuts(office)
    head = next(Path(office.state.path).glob("heads/*.json"))
    kept = head.read_bytes()
    counts = Counter({"write": 4, "fsync": 4})
    for call in counts:
        for number in range(1, counts[call] + 1):
            office.log_file.write_bytes(whole + line[:77])
            head.write_bytes(kept)
            marker = tmp_path / f"{call}-{number}"
            run = tracer(act_once(office, marker), inject=f"{call}:signal=KILL:when={number}")
            assert run.code == -9
            check_promises(office, marker, run.code)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b'{"a": 1}\n', "BAD_LINE"),
        (b'{"a":1}\n', "FOREIGN_LOG"),
        (b"7", "BAD_LINE"),
        (b"garbage\n", None),
    ],
)
def test_damage_is_no_crash(office: Office, bad: bytes, code: str | None) -> None:
    whole, _line = base_of_cuts(office)
    office.log_file.write_bytes(whole + bad)
    log = office.open()
    if code is None:
        assert log.event("note.added", NOTE) == 5
        return
    with pytest.raises(CustodyError) as caught:
        log.intent("evidence.hashed", {})
    assert caught.value.code == code
    assert office.log_file.read_bytes() == whole + bad


def test_a_bad_line_before_the_tail(office: Office) -> None:
    whole, line = base_of_cuts(office)
    next(Path(office.state.path).glob("heads/*.json")).unlink()
    first, second = whole.splitlines(keepends=True)
    office.log_file.write_bytes(first + b"garbage\n" + second + line)
    with pytest.raises(CustodyError) as caught:
        office.open().intent("evidence.hashed", {})
    assert caught.value.code == "BAD_LINE"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("seq", 9, "SEQ"),
        ("prev", "1" * 64, "CHAIN_BREAK"),
        ("log", "6f1ed002-ab55-4d4c-9d4e-0a4c9d4e0a4c", "FOREIGN_LOG"),
    ],
)
def test_a_last_line_that_is_not_in_the_chain(office: Office, field: str, value: Any, code: str) -> None:
    whole, line = base_of_cuts(office)
    record = json.loads(line) | {field: value}
    office.log_file.write_bytes(
        whole + json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    )
    with pytest.raises(CustodyError) as caught:
        office.open().intent("evidence.hashed", {})
    assert caught.value.code == code


def test_a_newer_line_refuses_the_append(office: Office) -> None:
    whole, line = base_of_cuts(office)
    for change in ({"v": 2}, {"type": "evidence.dreamt"}):
        record = json.loads(line) | change
        office.log_file.write_bytes(
            whole + json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        )
        with pytest.raises(CustodyError, match="newer imgkit"):
            office.open().intent("evidence.hashed", {})


def test_the_limit_on_file_sizes_tears_nothing(office: Office) -> None:
    log = office.create()
    intent = log.intent("evidence.hashed", {})
    before = office.log_file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(CustodyError, match="File too large"):
            log.intent("evidence.hashed", {})
        with pytest.raises(OutcomeSpooled):
            log.outcome(intent, "ok", {"digests": {}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert office.log_file.read_bytes() == before
    assert len(log.import_spool()) == 1
    office.check()


def test_the_log_of_a_killed_storm_verifies(office: Office, tmp_path: Path) -> None:
    """Children append until they are killed, wherever they are."""
    office.create()
    for number in range(20):
        pid = os.fork()
        if pid == 0:
            try:
                log = office.open()
                while True:
                    log.outcome(log.intent("evidence.hashed", {}), "ok", {"digests": {}})
            finally:
                os._exit(1)
        office.open().event("note.added", NOTE)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        assert office.open().event("note.added", NOTE | {"number": number}) > number
    office.check_chain()
    office.check()


def fill(folder: Path) -> None:
    """Take every byte of the file system."""
    with (folder / "filler").open("ab", buffering=0) as filler:
        for size in (1 << 16, 4096, 512, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


@pytest.fixture
def small_tmpfs(live: None, tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MiB."""
    place = tmp_path / "tmpfs"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "imgkit-test", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def small_ext4(live: None, tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 8 MiB, without blocks kept for root."""
    image, place = tmp_path / "ext4.img", tmp_path / "ext4"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def full_file_system(office: Office) -> None:
    log = office.create()
    intent, other = log.intent("evidence.attached", {}), log.intent("evidence.hashed", {})
    fill(office.folder)
    assert log.outcome(intent, "failed", {}) == 4  # the reserve holds it
    with pytest.raises(CustodyError, match="No space left"):
        use_up_the_page(log)
    before = office.lines()
    with pytest.raises(OutcomeSpooled, match="NOT YET IN THE CASE LOG"):
        use_up_the_reserve(log, other)
    office.check_chain_so_far()
    assert office.lines()[: len(before)] == before
    (office.folder / "filler").unlink()
    assert len(log.import_spool()) == 1
    log.event("note.added", NOTE)
    office.check_chain()
    office.check()


def use_up_the_page(log: CustodyLog) -> None:
    """The reserve slides with the end of the log and asks for a new page once in a few records."""
    for _ in range(20):
        log.intent("evidence.hashed", {})


def use_up_the_reserve(log: CustodyLog, intent: Intent) -> None:
    """Events are facts and may use the reserve; the outcome after the last of them finds no room."""
    with contextlib.suppress(CustodyError):
        while True:
            log.event("note.added", NOTE | {"text": "x" * 20_000})
    with contextlib.suppress(CustodyError):
        while True:
            log.event("note.added", NOTE)
    log.outcome(intent, "ok", {"digests": {"sha256": "0" * 64}, "text": "x" * 2000})


@pytest.mark.live
def test_a_full_tmpfs(small_tmpfs: Path, office_at: Callable[..., Office], tmp_path: Path) -> None:
    full_file_system(office_at(small_tmpfs, state=tmp_path / "state"))


@pytest.mark.live
@pytest.mark.xdist_group("mount-loop")
def test_a_full_ext4(small_ext4: Path, office_at: Callable[..., Office], tmp_path: Path) -> None:
    full_file_system(office_at(small_ext4, state=tmp_path / "state"))

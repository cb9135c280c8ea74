"""A log that is full, gone, read-only or not what it was: nothing is put up without it, everything comes down without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live import filesystems
from tests.live.bench import Bench, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.live

NOT_YET = "NOT YET IN THE CASE LOG"
# The outcome of one type cannot be appended: as when the disk under the log breaks in the middle of an act.
BREAKING = """
import sys
from imgkit.cli import main
from imgkit.custody import append
real, kind = append.Appender._write_once, b'"type":"%s"' % sys.argv.pop(1).encode()
def broken(self, fd, data, length):
    if kind in data and b'"phase":"outcome"' in data:
        import errno, os
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return real(self, fd, data, length)
def told(self, fd, data, length):
    with self._told("append to"):
        broken(self, fd, data, length)
append.Appender._write_once = told
if sys.argv[1] == "and no spool":
    from imgkit.custody import spool
    from imgkit.errors import CustodyError
    del sys.argv[1]
    def refuse(session, log, fields, *, intent=None):
        raise CustodyError("cannot keep a record in the spool: Input/output error")
    spool.put = refuse
sys.exit(main())
"""


@pytest.fixture
def disk(bench: Bench) -> Path:
    """Two partitions with a file system each."""
    part = bench.base / "part"
    filesystems.make_tree(bench.base / "tree")
    filesystems.make_clean(part, "squashfs", bench.base / "tree")
    disk = bench.folder / "disk.dd"
    filesystems.make_disk(disk, "gpt", [part, part])
    return disk


def breaking(bench: Bench, kind: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command whose outcomes of that type the log does not take."""
    command = [sys.executable, "-c", BREAKING, kind, *map(str, words)]
    return subprocess.run(
        command, env=bench.env, cwd=bench.folder, capture_output=True, text=True, check=False
    )


def ledger(bench: Bench, case: Path) -> list[tuple[str, str, bool]]:
    """(type, phase or result, late) of the evidence records but for its addition and inspection."""
    wanted = {"evidence.attached", "evidence.detached", "evidence.mounted", "evidence.unmounted"}
    return [
        (record["type"].removeprefix("evidence."), record.get("result", record["phase"]), "late" in record)
        for record in bench.records(bench.log_of(case))
        if record["type"] in wanted
    ]


def spooled(bench: Bench) -> int:
    return len(list((bench.base / "state" / "imgkit" / "spool").rglob("*.json")))


def settle(bench: Bench, case: Path, disk: Path) -> None:
    """The next run imports what waits; the log then tells everything, and once."""
    assert spooled(bench) > 0
    bench("partitions", disk, "--case", case).ended(0)
    assert spooled(bench) == 0
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))


@pytest.mark.parametrize("verb", ["attach", "mount"])
def test_full_before_anything_is_done(bench: Bench, disk: Path, verb: str) -> None:
    case = bench.tmpfs("full") / "case"
    bench("case", "new", case).ended(0)
    bench("partitions", disk, "--case", case).ended(0)
    fill(case.parent)
    lines = bench.records(bench.log_of(case))
    done = bench(verb, disk, "-p", "1", "--case", case, "--json").ended(3)
    assert done.json["error"]["kind"].startswith("custody")
    assert "No space left" in done.json["error"]["message"]
    assert bench.is_clean()
    assert bench.records(bench.log_of(case)) == lines
    (case.parent / "ballast").unlink()
    bench(verb, disk, "-p", "1", "--case", case).ended(0)
    fill(case.parent)
    down = bench("detach" if verb == "attach" else "unmount", "--all")  # by the reserve, or by the spool
    assert down.code in {0, 3}
    assert bench.is_clean()
    (case.parent / "ballast").unlink()
    bench("partitions", disk, "--case", case).ended(0)
    assert spooled(bench) == 0
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))


def test_attach_that_cannot_be_recorded(bench: Bench, disk: Path) -> None:
    """All outcomes are tried, both devices are down, the spool has it all, and the next run brings it home."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    done = breaking(bench, "evidence.attached", "attach", disk, "-p", "1", "-p", "2", "--json")
    assert done.returncode == 3
    assert NOT_YET in done.stderr
    assert '"kind": "custody.spooled"' in done.stdout
    assert bench.is_clean()
    settle(bench, case, disk)
    # The detaching reached the log itself, and at once; what it takes down came late.
    assert ledger(bench, case) == [
        ("attached", "intent", False),
        ("attached", "intent", False),
        ("detached", "intent", False),
        ("detached", "ok", False),
        ("detached", "intent", False),
        ("detached", "ok", False),
        ("attached", "ok", True),
        ("attached", "ok", True),
    ]
    assert bench("detach", "--all").ended(0).out == ""


@pytest.mark.parametrize("kind", ["evidence.attached", "evidence.mounted"])
def test_mount_that_cannot_be_recorded(bench: Bench, disk: Path, kind: str) -> None:
    """Nothing stays, of the partitions that were mounted before it neither."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    done = breaking(bench, kind, "mount", disk, "seen", "--json")
    assert done.returncode == 3
    assert NOT_YET in done.stderr
    assert bench.is_clean()
    assert not (bench.folder / "seen").exists()
    settle(bench, case, disk)
    story = ledger(bench, case)
    assert story[-1] == (kind.removeprefix("evidence."), "ok", True)
    assert ("detached", "ok", False) in story
    assert (("unmounted", "ok", False) in story) == (kind == "evidence.mounted")
    assert not {result for _, result, _ in story} & {"failed", "unknown", "interrupted"}


@pytest.mark.parametrize("kind", ["evidence.attached", "evidence.mounted"])
def test_what_nothing_can_record(bench: Bench, disk: Path, kind: str) -> None:
    """Neither log nor spool take the outcome: nothing stays, and a later run explains the intent that was left open."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    verb = "attach" if kind == "evidence.attached" else "mount"
    done = breaking(bench, kind, "and no spool", verb, disk, "-p", "1", "-p", "2", "--json")
    assert done.returncode == 3
    assert "neither log nor spool took the outcome" in done.stdout
    assert bench.is_clean()
    assert spooled(bench) == 0
    bench("partitions", disk).ended(0)
    left = bench.of_type(case, "op.reconciled", "event")
    assert {record["data"]["type"] for record in left} == {kind}
    assert {record["data"]["result"] for record in left} == {"interrupted"}
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))


@pytest.mark.parametrize("verb", ["detach", "unmount"])
def test_taking_down_that_cannot_be_recorded(bench: Bench, disk: Path, verb: str) -> None:
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    bench("attach" if verb == "detach" else "mount", disk, "-p", "1").ended(0)
    done = breaking(bench, f"evidence.{verb}ed", verb, "--all")
    assert done.returncode == 3
    assert NOT_YET in done.stderr
    assert bench.is_clean()
    settle(bench, case, disk)
    assert (f"{verb}ed", "ok", True) in ledger(bench, case)


def gone(case: Path) -> Callable[[], object]:
    case.rename(case.with_name("away"))
    return lambda: case.with_name("away").rename(case)


def rolled_back(case: Path) -> Callable[[], object]:
    log = case / "custody.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    return lambda: log.write_bytes(whole)


def unwritable(case: Path) -> Callable[[], object]:
    subprocess.run(["mount", "--bind", "-o", "ro", case, case], check=True)
    return lambda: subprocess.run(["umount", case], check=True)


def replaced(case: Path) -> Callable[[], object]:
    """Another case lies there now."""
    away = case.with_name("away")
    case.rename(away)
    shutil.copytree(away, case)
    log = case / "custody.jsonl"
    log.write_text(
        log.read_text().replace(log.read_text().split('"log":"')[1][:36], str(os.urandom(4).hex()))
    )

    def back() -> None:
        shutil.rmtree(case)
        away.rename(case)

    return back


@pytest.mark.parametrize("trouble", [gone, rolled_back, unwritable, replaced])
@pytest.mark.parametrize("verb", ["detach", "unmount"])
def test_taking_down_without_the_log(
    bench: Bench, disk: Path, trouble: Callable[[Path], Callable[[], object]], verb: str
) -> None:
    """Device and mount come down, the spool keeps it, and the log has it when it is back."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    if verb == "detach":
        what = bench("attach", disk, "-p", "1").ended(0).out.strip()
    else:
        what = bench("mount", disk, "-p", "1", "seen").ended(0).out.strip()
    back = trouble(case)
    try:
        done = bench(verb, what, "--json")
        assert bench.is_clean()
    finally:
        back()
    assert done.code == 3
    assert NOT_YET in done.err
    (entry,) = done.json["attachments"]
    assert entry["detached"]
    assert entry["not_yet_in_log"]
    assert entry["unmounted"] == ([what] if verb == "unmount" else [])
    settle(bench, case, disk)
    assert ledger(bench, case)[-2:] == [("detached", "intent", True), ("detached", "ok", True)]
    late = bench.of_type(case, "evidence.detached")[-1]
    assert late["data"]["at"]["utc"] <= late["time"]["utc"]


def test_all_of_a_case_that_is_gone(bench: Bench, disk: Path) -> None:
    """--all with the case that IMGKIT_CASE still names: what that case attached; a name that never was one is refused."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    device = bench("attach", disk, "-p", "1").ended(0).out.strip()
    back = gone(case)
    try:
        wrong = bench("detach", "--all", "--case", bench.folder / "mistyped").ended(3)
        assert "no such file" in wrong.err.lower() or "no custody log" in wrong.err
        assert bench.devices().keys() == {device}
        assert bench("detach", "--all").ended(3).lines == [device]
    finally:
        back()
    settle(bench, case, disk)


def test_neither_log_nor_spool(bench: Bench, disk: Path) -> None:
    """Even then evidence is taken down, and the examiner is told to write it down."""
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    device = bench("attach", disk, "-p", "1").ended(0).out.strip()
    state = bench.base / "state"
    away = [gone(case), unwritable(state)]
    try:
        done = bench("detach", device).ended(3)
    finally:
        for back in away:
            back()
    assert done.lines == [device]
    assert "RECORDED NOWHERE" in done.err
    assert bench.is_clean()
    bench("partitions", disk).ended(0)
    assert [record["data"]["device"] for record in bench.of_type(case, "evidence.gone", "event")] == [device]


def test_the_log_of_the_attach_is_the_log_of_the_detach(bench: Bench, disk: Path) -> None:
    """Whichever case is at hand, wherever the first has been moved to since (this host saw it there)."""
    first, second = bench.case("first"), bench.case("second")
    device = bench("attach", disk, "-p", "1", "--case", first).ended(0).out.strip()
    moved = first.rename(bench.folder / "moved")
    bench("case", "note", "--case", moved, "moved to the other shelf").ended(0)
    lines = len(bench.records(bench.log_of(second)))
    bench("detach", device, env={"IMGKIT_CASE": str(second)}).ended(0)
    assert len(bench.records(bench.log_of(second))) == lines
    assert ledger(bench, moved)[-1] == ("detached", "ok", False)
    assert "OPEN_ATTACHMENT" not in bench.verified(moved)

"""Checkpoints: true to the log, whole or absent after any crash, never in the way of an act."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody import checkpoints, measure, ssh
from imgkit.custody.checkpoint import Checkpoint
from imgkit.custody.checkpoints import make_checkpoint
from imgkit.custody.ssh import Signer, verify_signature
from imgkit.errors import CustodyError
from tests.custody.keys import certify, make_key, public, ssh_keygen

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.custody.log import CustodyLog
    from tests.custody.conftest import Office, Traced

    Trace = Callable[..., Traced]

JANE = "jane@lab.example"
NOTE = {"sha256": "0" * 64}


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(JANE, str(make_key(tmp_path / "id")))


def files(office: Office) -> dict[str, bytes]:
    """The files of checkpoints that have their names."""
    return {path.name: path.read_bytes() for path in sorted(office.case.glob("checkpoints/[!.]*"))}


def recorded(office: Office) -> list[dict[str, Any]]:
    return [record["data"] for record in office.records() if record["type"] == "log.checkpointed"]


def root(lines: list[bytes]) -> bytes:
    """RFC 6962, as it is written there."""
    if len(lines) == 1:
        return hashlib.sha256(b"\0" + lines[0]).digest()
    k = 1
    while k * 2 < len(lines):
        k *= 2
    return hashlib.sha256(b"\1" + root(lines[:k]) + root(lines[k:])).digest()


def check_whole(office: Office) -> None:
    """Every recorded checkpoint is the truth, with all of its files; there is no other file."""
    lines, before = office.lines(), "0" * 64
    expected: dict[str, bytes] = {}
    for number, data in enumerate(recorded(office), 1):
        body = files(office)[f"{number:06}.txt"]
        point = Checkpoint.parse(body)
        covered = lines[: point.size]
        assert (point.n, data["n"], point.prev) == (number, number, before)
        assert point.bytes == sum(map(len, covered))
        assert point.head == hashlib.sha256(covered[-1]).hexdigest()
        assert point.file == hashlib.sha256(b"".join(covered)).hexdigest()
        assert point.merkle == root(covered).hex()
        before = hashlib.sha256(body).hexdigest()
        assert data["body"] == before
        for key in ("size", "bytes", "head", "file", "merkle", "prev", "signer", "reason"):
            assert data[key] == getattr(point, key)
        names = [f"{number:06}.txt", *([f"{number:06}.txt.sig"] if "signature" in data else [])]
        sums = "".join(f"{hashlib.sha256(files(office)[name]).hexdigest()}  {name}\n" for name in names)
        expected |= {name: files(office)[name] for name in names} | {f"{number:06}.sums": sums.encode()}
        if "signature" in data:
            assert data["signature"] == hashlib.sha256(files(office)[names[1]]).hexdigest()
    assert files(office) == expected
    assert all(
        name.startswith(".") and name.endswith(".tmp")
        for name in set(os.listdir(office.case / "checkpoints")) - set(expected)
    )


# -- what it says --------------------------------------------------------------------------------------


def test_checkpoints_of_a_growing_log(office: Office, signer: Signer) -> None:
    log = office.create()
    for number in range(1, 6):
        for _ in range(number):
            log.event("note.added", NOTE)
        made = make_checkpoint(log, reason="transfer", signer=signer)
        assert (made.checkpoint.n, made.signed, made.notices) == (number, True, ())
        assert made.line == made.checkpoint.size + 1 == len(office.lines())
        assert made.body == Path(made.files[0]).read_bytes()
        assert [os.path.basename(path)[6:] for path in made.files] == [".txt", ".txt.sig", ".sums"]
    check_whole(office)
    office.check()


def test_stock_tools_check_it(office: Office, signer: Signer) -> None:
    log = office.create()
    made = make_checkpoint(log, reason="seal", signer=signer)
    place = office.case / "checkpoints"
    subprocess.run(["sha256sum", "--quiet", "-c", "000001.sums"], cwd=place, check=True)
    words: list[str | Path] = [
        "-Y",
        "verify",
        "-f",
        office.case / "allowed_signers",
        "-I",
        JANE,
        "-n",
        "custody@imgkit",
    ]
    ssh_keygen(*words, "-s", made.files[1], stdin=made.body)
    covered = subprocess.run(
        ["head", "-n", str(made.checkpoint.size), office.log_file], capture_output=True, check=True
    )
    digest = subprocess.run(["sha256sum"], input=covered.stdout, capture_output=True, check=True)
    assert digest.stdout.decode().split()[0] == made.checkpoint.file


def test_without_a_signer_it_is_unsigned(office: Office) -> None:
    made = make_checkpoint(office.create(), reason="transfer", signer=None)
    assert (made.signed, made.fingerprint, made.checkpoint.signer, made.notices) == (False, None, "-", ())
    assert list(files(office)) == ["000001.sums", "000001.txt"]
    assert "signature" not in recorded(office)[0]
    assert not (office.case / "allowed_signers").exists()
    check_whole(office)


@pytest.mark.parametrize("how", ["missing", "locked", "public", "weak", "no program", "hangs"])
def test_a_signature_that_fails_fails_nothing(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    kind, bits = ("rsa", "1024") if how == "weak" else ("ed25519", None)
    key = make_key(tmp_path / "id", kind, bits, passphrase="canary" if how == "locked" else "")
    if how in ("missing", "public"):
        key.unlink()
    if how in ("no program", "hangs"):
        monkeypatch.setattr(
            ssh, "ssh_keygen", lambda: "/nonexistent" if how == "no program" else "/usr/bin/yes"
        )
        monkeypatch.setattr(ssh, "SIGN_SECONDS", 0.1)
    path = key.with_suffix(".pub") if how == "public" else key
    made = make_checkpoint(office.create(), reason="transfer", signer=Signer(JANE, str(path)))
    assert not made.signed
    assert "UNSIGNED" in made.notices[0]
    assert recorded(office)[0]["unsigned"] in made.notices[0]
    assert recorded(office)[0]["signer"] == JANE  # who was to sign; there is no signature
    check_whole(office)
    office.check()
    for place in (office.case, Path(office.state.path)):
        assert not [path for path in place.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


def test_modes_and_owner_are_those_of_the_folder(office: Office, signer: Signer) -> None:
    log = office.create()
    office.case.chmod(0o2770)
    made = make_checkpoint(log, reason="transfer", signer=signer)
    for path in made.files:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o440
        assert os.stat(path).st_gid == office.case.stat().st_gid
    assert stat.S_IMODE((office.case / "allowed_signers").stat().st_mode) == 0o660


def test_case_and_reason_are_one_line_of_ascii(office: Office) -> None:
    made = make_checkpoint(office.create(), reason="über\ngabe\n\nn: 7", signer=None)
    assert made.checkpoint.reason == "\\xfcber\\ngabe\\n\\nn: 7"
    assert made.checkpoint.case == "2026-0142"
    assert make_checkpoint(office.open(), reason="", signer=None).checkpoint.reason == "-"
    check_whole(office)


def test_signers_are_listed_once(office: Office, tmp_path: Path, signer: Signer) -> None:
    log, bob = office.create(), Signer("bob@lab.example", str(make_key(tmp_path / "bob")))
    ca = make_key(tmp_path / "ca")
    certified = Signer(JANE, str(certify(ca, Path(signer.key), principal=JANE)))
    for one in (signer, bob, signer, certified, bob):
        made = make_checkpoint(log, reason="transfer", signer=one)
        check = verify_signature(
            made.body,
            Path(made.files[1]).read_bytes(),
            signers=office.case / "allowed_signers",
            principal=one.principal,
        )
        assert check.status == "trusted"
    assert (office.case / "allowed_signers").read_text().splitlines() == [
        f"{JANE} {public(Path(signer.key))}",
        f"bob@lab.example {public(Path(bob.key))}",
        f"{JANE} cert-authority {public(ca)}",
    ]


def test_a_list_of_signers_that_cannot_be_written_is_told(office: Office, signer: Signer) -> None:
    log = office.create()
    (office.case / "allowed_signers").symlink_to("/etc/hostname")
    made = make_checkpoint(log, reason="transfer", signer=signer)
    assert made.signed
    assert "allowed_signers" in made.notices[0]


# -- what it goes on from ------------------------------------------------------------------------------


def test_a_body_that_was_taken_away_is_gone_on_from(office: Office) -> None:
    log = office.create()
    first = make_checkpoint(log, reason="transfer", signer=None)
    for path in first.files:
        os.unlink(path)
    second = make_checkpoint(log, reason="transfer", signer=None)
    assert second.notices == ()
    assert second.checkpoint.prev == hashlib.sha256(first.body).hexdigest()


def test_a_body_that_was_changed_is_told(office: Office) -> None:
    log = office.create()
    first = make_checkpoint(log, reason="transfer", signer=None)
    os.unlink(first.files[0])
    Path(first.files[0]).write_bytes(first.body.replace(b"transfer", b"transfex"))
    second = make_checkpoint(log, reason="transfer", signer=None)
    assert "is not what the log recorded" in second.notices[0]
    assert second.checkpoint.prev == hashlib.sha256(first.body).hexdigest()


def test_a_file_in_the_way_is_not_overwritten(office: Office, signer: Signer) -> None:
    log = office.create()
    planted = office.case / "checkpoints" / "000001.txt.sig"
    planted.write_bytes(b"planted")
    before = office.log_file.read_bytes()
    with pytest.raises(CustodyError, match="is there already") as caught:
        make_checkpoint(log, reason="transfer", signer=signer)
    assert caught.value.code == "EXTRA_FILE"
    assert (planted.read_bytes(), office.log_file.read_bytes()) == (b"planted", before)


def test_a_log_that_is_not_what_this_host_remembers_is_not_signed(
    office: Office, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = office.create()
    before = office.log_file.read_bytes()
    log.event("note.added", NOTE)
    office.log_file.write_bytes(before)
    monkeypatch.setattr(checkpoints, "sign", lambda *_: pytest.fail("signed"))
    with pytest.raises(CustodyError) as caught:
        make_checkpoint(log, reason="transfer", signer=signer)
    assert caught.value.code == "ROLLBACK"


def test_the_folder_may_be_missing(office: Office) -> None:
    log = office.create()
    (office.case / "checkpoints").rmdir()
    make_checkpoint(log, reason="transfer", signer=None)
    check_whole(office)


def test_a_torn_tail_is_not_covered(office: Office) -> None:
    log = office.create()
    log.event("note.added", NOTE)
    with office.log_file.open("ab") as file:
        file.write(b'{"torn')
    made = make_checkpoint(log, reason="transfer", signer=None)
    assert made.checkpoint.size == 2
    assert made.line == 5  # after the torn line and its log.recovered
    assert make_checkpoint(log, reason="transfer", signer=None).checkpoint.size == 5
    check_whole(office)
    office.check()


@pytest.mark.parametrize(
    "kept",
    [
        "as left",
        "absent",
        "nonsense",
        "of another log",
        "of too few peaks",
        "of other peaks",
        "negative",
        "of words",
        "longer",
        "too long",
    ],
)
def test_what_is_remembered_of_the_tree_only_saves_time(
    office: Office, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setattr(measure, "_WORTH_REMEMBERING", 1)
    log = office.create()
    for _ in range(3):
        log.event("note.added", NOTE)
        make_checkpoint(log, reason="transfer", signer=None)
    (memory,) = Path(office.state.path).glob("trees/*.json")
    text = memory.read_text()
    fields = json.loads(text)
    changed = {
        "of another log": {"file": "0" * 64},
        "of too few peaks": {"peaks": []},
        "of other peaks": {"peaks": ["0" * 64 for _ in fields["peaks"]]},
        "longer": {"size": fields["size"] + 8, "bytes": fields["bytes"] + 8},
        "too long": {"bytes": 10**9},
        "negative": {"bytes": -5},
        "of words": {"bytes": "five"},
        "as left": {},
    }
    memory.unlink()
    if kept in changed:
        memory.write_text(json.dumps(fields | changed[kept], sort_keys=True, separators=(",", ":")) + "\n")
    elif kept == "nonsense":
        memory.write_text("{")
    log.event("note.added", NOTE)
    make_checkpoint(log, reason="transfer", signer=None)
    check_whole(office)


@pytest.mark.parametrize("block", [1 << 20, 300])
@pytest.mark.parametrize("remembered", [True, False])
def test_an_examiner_is_told_of_lines_changed_before_they_sign(
    office: Office, monkeypatch: pytest.MonkeyPatch, block: int, *, remembered: bool
) -> None:
    """This host remembers the last line alone: one that was edited before it is not refused, but it is told."""
    monkeypatch.setattr(measure, "_BLOCK", block)
    monkeypatch.setattr(measure, "_WORTH_REMEMBERING", 1 if remembered else 99)
    log = office.create()
    for _ in range(3):
        log.event("note.added", NOTE)
    assert make_checkpoint(log, reason="transfer", signer=None).notices == ()
    log.event("note.added", NOTE)
    assert make_checkpoint(log, reason="transfer", signer=None).notices == ()
    text = office.log_file.read_bytes()
    office.log_file.write_bytes(text.replace(b'"sha256":"0000', b'"sha256":"0001', 1))
    (notice,) = make_checkpoint(log, reason="transfer", signer=None).notices
    assert notice.startswith("the first 6 lines are not what checkpoint 2 says of them")


def test_lines_longer_than_a_piece_of_reading(memory_office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_BLOCK", 97)
    log = memory_office.create()
    for number in range(20):
        log.event("note.added", NOTE | {"text": "x" * (number * 40)})
        make_checkpoint(log, reason="transfer", signer=None)
    check_whole(memory_office)


# -- several runs --------------------------------------------------------------------------------------


def test_runs_at_once_make_each_number_once(office: Office, signer: Signer) -> None:
    office.create()
    children = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                log = office.open()
                for _ in range(3):
                    log.event("note.added", NOTE)
                    make_checkpoint(log, reason=f"run {number}", signer=signer)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 6
    assert len(recorded(office)) == 18
    office.check_chain()
    check_whole(office)
    office.check()


def test_another_run_between_reading_and_record(
    office: Office, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks are no help, the log decides: what was made of an older state is made anew."""
    log, other, true = office.create(), office.open(), ssh.sign
    monkeypatch.setattr(checkpoints, "_my_turn", contextlib.nullcontext)
    calls = []

    def slow(body: bytes, by: Signer) -> bytes:
        calls.append(body)
        if len(calls) == 1:
            other.event("note.added", NOTE)
            make_checkpoint(other, reason="quicker", signer=None)
        return true(body, by)

    monkeypatch.setattr(checkpoints, "sign", slow)
    made = make_checkpoint(log, reason="slower", signer=signer)
    assert (made.checkpoint.n, made.checkpoint.size, len(calls)) == (2, 3, 2)
    assert not list((office.case / "checkpoints").glob(".*"))
    check_whole(office)


def test_other_records_between_reading_and_record_do_no_harm(
    office: Office, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, other, true = office.create(), office.open(), ssh.sign

    def slow(body: bytes, by: Signer) -> bytes:
        other.event("note.added", NOTE)
        return true(body, by)

    monkeypatch.setattr(checkpoints, "sign", slow)
    made = make_checkpoint(log, reason="slower", signer=signer)
    assert (made.checkpoint.size, made.line) == (1, 3)
    check_whole(office)


# -- crashes -------------------------------------------------------------------------------------------


def checkpointing(log: CustodyLog, signer: Signer | None) -> Callable[[], int]:
    def act() -> int:
        try:
            make_checkpoint(log, reason="transfer", signer=signer)
        except CustodyError:
            return 3
        return 0

    return act


CALLS = (
    "openat",
    "flock",
    "pread64",
    "fallocate",
    "write",
    "fsync",
    "renameat2",
    "rename",
    "newfstatat",
    "close",
)
FAULTS = [
    *(("error=EIO", call) for call in CALLS),
    *(("error=ENOSPC", call) for call in ("openat", "fallocate", "write", "fsync", "renameat2")),
    *(("signal=KILL", call) for call in CALLS),
]


@pytest.mark.parametrize(("fault", "call"), FAULTS, ids=[f"{call}-{fault}" for fault, call in FAULTS])
def test_a_fault_at_every_call(office: Office, tracer: Trace, fault: str, call: str) -> None:
    """Whatever happens: no checkpoint, or one whose record is durable and whose bytes are there; the next run names them."""
    log = office.create()
    run = tracer(checkpointing(log, None))
    assert run.code == 0
    count = Counter(line.split(None, 1)[1].partition("(")[0] for line in run.calls)[call]
    assert count > 0
    for number in range(1, count + 1):
        before = len(recorded(office))
        run = tracer(checkpointing(log, None), inject=f"{call}:{fault}:when={number}")
        assert run.code in (0, 3, -9, 99), run.calls[-3:]
        if run.code == 99:  # the fault hit what is no part of the log: the pipe of the test, or Python itself
            hit = next(line for line in run.calls if "INJECTED" in line)
            assert not any(path in hit for path in (str(office.case), office.state.path)), hit
        if run.code == 0:
            assert len(recorded(office)) == before + 1
        check_either(office)
        office.open().event("note.added", NOTE)
        check_whole(office)
        office.check()


def check_either(office: Office) -> None:
    """Before any later run: each recorded checkpoint has its bytes under its name or beside it, and nothing else has a name."""
    there = {name: hashlib.sha256(data).hexdigest() for name, data in files(office).items()}
    aside = [
        (path.name[1:].split(".")[0], hashlib.sha256(path.read_bytes()).hexdigest())
        for path in office.case.glob("checkpoints/.*.tmp")
    ]
    for data in recorded(office):
        name = f"{data['n']:06}"
        assert there.get(f"{name}.txt") == data["body"] or (name, data["body"]) in aside
    assert {name[:6] for name in there} <= {f"{data['n']:06}" for data in recorded(office)}


def test_a_kill_at_every_call_of_a_signed_one(office: Office, tracer: Trace, signer: Signer) -> None:
    log = office.create()
    run = tracer(checkpointing(log, signer), calls="write,fsync,renameat2,flock")
    assert run.code == 0
    counts = Counter(line.split(None, 1)[1].partition("(")[0] for line in run.calls)
    for call in ("write", "fsync", "renameat2"):
        for number in range(1, counts[call] + 1):
            run = tracer(
                checkpointing(log, signer),
                calls="write,fsync,renameat2",
                inject=f"{call}:signal=KILL:when={number}",
            )
            assert run.code in (0, 3, -9)
            check_either(office)
            office.open().event("note.added", NOTE)
            check_whole(office)
            office.check()


def test_files_are_durable_before_the_record_and_named_after(
    office: Office, tracer: Trace, signer: Signer
) -> None:
    log = office.create()
    run = tracer(checkpointing(log, signer), calls="write,fsync,renameat2")
    steps = [
        (line.split(None, 1)[1].partition("(")[0], "log" if "custody.jsonl>" in line else "files")
        for line in run.calls
        if "/checkpoints" in line or "custody.jsonl>" in line
    ]
    assert steps == [
        *([("write", "files"), ("fsync", "files")] * 3),
        ("fsync", "files"),
        ("write", "log"),
        ("fsync", "log"),
        *([("renameat2", "files")] * 3),
        ("fsync", "files"),
    ]


def test_leftovers_of_checkpoints_that_never_were_stay_nameless(office: Office) -> None:
    log = office.create()
    place = office.case / "checkpoints"
    leftover = f".000001.txt.{'0' * 36}.tmp"
    for name, data in (
        (leftover, b"torn"),
        (leftover.replace(".txt", ".sums"), b"x  y\n"),
        (".other.tmp", b""),
    ):
        (place / name).write_bytes(data)
    make_checkpoint(log, reason="transfer", signer=None)
    make_checkpoint(office.open(), reason="transfer", signer=None)
    assert len(list(place.glob(".*.tmp"))) == 3
    check_whole(office)
    office.check()


def test_a_full_disk_is_an_error_and_leaves_nothing(
    office: Office, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = office.create()
    before = office.log_file.read_bytes()
    filling = 0

    def full(fd: int, data: Any) -> int:
        nonlocal filling
        filling += 1
        if filling == 2:
            raise OSError(28, os.strerror(28))
        return true(fd, data)

    true = os.write
    monkeypatch.setattr(checkpoints, "sign", lambda *_: (_ for _ in ()).throw(CustodyError("no")))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CustodyError, match="keep checkpoint 1"):
        make_checkpoint(log, reason="transfer", signer=signer)
    monkeypatch.undo()
    assert (os.listdir(office.case / "checkpoints"), office.log_file.read_bytes()) == ([], before)

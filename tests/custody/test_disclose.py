"""Disclosed lines: what is given, what is found where it was changed, and that check.sh agrees with imgkit on all of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from imgkit.custody.checkpoint import Checkpoint
from imgkit.custody.disclose import disclose, inclusion_paths, write_disclosure
from imgkit.custody.disclosed import check_disclosure
from imgkit.custody.merkle import inclusion_path, leaf_hash, root_from_path, root_of
from imgkit.errors import CustodyError, UsageError
from tests.custody import forge, keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JANE = "jane@lab.example"
LINES = forge.usual().lines
SIZE = 9  # of the checkpoint; the log has more


def checkpoint(lines: list[bytes], size: int, n: int = 1) -> Checkpoint:
    text = b"".join(lines[:size])
    return Checkpoint(
        n=n,
        log=forge.parse(lines[0])["log"],
        case="2026-0142",
        size=size,
        bytes=len(text),
        head=forge.line_hash(lines[size - 1]),
        file=hashlib.sha256(text).hexdigest(),
        merkle=root_of([leaf_hash(line) for line in lines[:size]]).hex(),
        prev="0" * 64,
        time="2026-05-01T12:34:56.123456Z",
        signer=JANE,
        reason="transfer",
    )


def put(case: Path, point: Checkpoint, key: Path | None) -> None:
    """The files of a checkpoint, as imgkit names them."""
    folder = case / "checkpoints"
    folder.mkdir(exist_ok=True)
    names = [f"{point.name}.txt"]
    (folder / names[0]).write_bytes(point.body)
    if key is not None:
        keys.ssh_keygen("-q", "-Y", "sign", "-n", "custody@imgkit", "-f", key, folder / names[0])
        names.append(f"{point.name}.txt.sig")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / f"{point.name}.sums").write_text("".join(sums))


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keys.make_key(tmp_path_factory.mktemp("keys") / "jane")


@pytest.fixture
def signers(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "signers"
    path.write_text(f"{JANE} {keys.public(key)}\n")
    return path


@pytest.fixture
def case(tmp_path: Path, key: Path) -> Path:
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "custody.jsonl").write_bytes(b"".join(LINES))
    put(folder, checkpoint(LINES, SIZE), key)
    return folder


@pytest.fixture
def received(case: Path, tmp_path: Path) -> Path:
    """Lines 2, 3, 8 and 9 of 9, as the other party has them: the case is gone."""
    write_disclosure(
        disclose(str(case / "custody.jsonl"), numbers=(3, 2, SIZE, 8)), str(tmp_path / "received")
    )
    shutil.rmtree(case)
    return tmp_path / "received"


def by_hand(folder: Path, *signers: Path) -> int:
    """What the script in the folder says."""
    done = subprocess.run(
        ["sh", folder / "check.sh", *signers], capture_output=True, check=False, env={"PATH": os.defpath}
    )
    assert done.returncode in {0, 1, 3}, done
    return done.returncode


@pytest.mark.parametrize(
    ("until", "good"), [("20260502", True), ("20260501123456", True), ("20260501123455", False)]
)
def test_a_key_is_judged_at_the_time_of_the_checkpoint(
    until: str, received: Path, tmp_path: Path, key: Path, *, good: bool
) -> None:
    """Nobody is accused because their key ended after they signed; nobody passes whose key ended before."""
    ended = tmp_path / "ended"
    ended.write_text(f'{JANE} valid-before="{until}" {keys.public(key)}\n')
    found = check_disclosure(str(received), signers=ended)
    assert (not found.failed, by_hand(received, ended)) == (good, 0 if good else 1)


def test_a_signature_that_fits_everything(received: Path, tmp_path: Path) -> None:
    """OpenSSH 9 takes it; nobody else does, list or not."""
    weak = keys.ed25519_blob(bytes(32))
    listed = tmp_path / "weak"
    listed.write_text(f"{JANE} ssh-ed25519 {base64.b64encode(weak).decode()}\n")
    body = received / "checkpoints" / "000001.txt"
    signature = body.with_name("000001.txt.sig")
    signature.write_bytes(keys.sshsig(weak, (1).to_bytes(32, "little") + bytes(32)))
    sums = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in (body, signature)]
    body.with_name("000001.sums").write_text("".join(sums))
    for signers in ((), (listed,)):
        found = check_disclosure(str(received), signers=listed if signers else None)
        assert [item.code for item in found.findings] == ["WEAK_KEY"]
        assert by_hand(received, *signers) == 1


@pytest.mark.parametrize("count", [*range(1, 18), 100])
def test_paths_are_those_of_the_tree(count: int) -> None:
    leaves = [leaf_hash(b"%d\n" % index) for index in range(count)]
    paths = inclusion_paths(leaves, range(count))
    for index in range(count):
        assert list(paths[index]) == inclusion_path(leaves, index)
        assert root_from_path(leaves[index], index, count, paths[index]) == root_of(leaves)


def test_what_is_given_and_what_is_not(received: Path, signers: Path) -> None:
    names = sorted(path.relative_to(received).as_posix() for path in received.rglob("*") if path.is_file())
    files = ["000001.sums", "000001.txt", "000001.txt.sig"]
    assert names == sorted(
        ["README.txt", "check.sh", "lines.jsonl", "paths.txt", *(f"checkpoints/{n}" for n in files)]
    )
    assert (received / "lines.jsonl").read_bytes() == LINES[1] + LINES[2] + LINES[7] + LINES[8]
    everything = b"".join(path.read_bytes() for path in received.rglob("*") if path.is_file())
    for line in (LINES[0], *LINES[3:7], *LINES[9:]):
        record = forge.parse(line)
        assert record["time"]["utc"].encode() not in everything
        assert str(record.get("op", "no operation")).encode() not in everything
    found = check_disclosure(str(received), signers=signers)
    assert (found.failed, found.findings, found.lines, found.count) == (False, (), (2, 3, 8, 9), 4)
    assert found.signature is not None
    assert found.signature.status == "trusted"
    assert by_hand(received, signers) == 0
    with pytest.raises(TypeError):
        bool(found)


def test_the_head_and_a_log_of_one_line(tmp_path: Path, key: Path, signers: Path) -> None:
    (tmp_path / "custody.jsonl").write_bytes(LINES[0])
    put(tmp_path, checkpoint(LINES, 1), key)
    write_disclosure(disclose(str(tmp_path / "custody.jsonl"), numbers=[1]), str(tmp_path / "out"))
    assert (tmp_path / "out" / "paths.txt").read_bytes() == b"1\n"
    assert check_disclosure(str(tmp_path / "out"), signers=signers).findings == ()
    assert by_hand(tmp_path / "out", signers) == 0


def test_every_size_and_line_by_hand(tmp_path: Path) -> None:
    """The walk of check.sh, unsigned, over every line of every size up to nine."""
    for size in range(1, SIZE + 1):
        case = tmp_path / str(size)
        case.mkdir()
        (case / "custody.jsonl").write_bytes(b"".join(LINES))
        put(case, checkpoint(LINES, size), None)
        made = disclose(str(case / "custody.jsonl"), numbers=range(1, size + 1))
        assert not made.signed
        write_disclosure(made, str(case / "out"))
        assert by_hand(case / "out") == 0
        found = check_disclosure(str(case / "out"))
        assert [item.code for item in found.findings] == ["UNSIGNED_CHECKPOINT"]
        assert found.lines == tuple(range(1, size + 1))


def test_an_exhibit_comes_with_what_became_of_its_acts(tmp_path: Path, key: Path) -> None:
    log = forge.Forge()
    log.open()
    log.hash_act()  # 2, 3: EX1
    log.intent("evidence.hashed", {}, exhibit="EX2")  # 4
    op = log.intent("evidence.hashed", {})  # 5: EX1
    log.event("op.reconciled", {"op": op, "line": 5, "result": "interrupted", "seen": {}})  # 6
    log.event("correction.added", {"line": 3, "field": "data.of", "why": "misread"})  # 7
    log.event("correction.added", {"line": 4, "field": "data.of", "why": "misread"})  # 8
    log.event("note.added", {"sha256": forge.SHA}, exhibit="EX1")  # 9
    (tmp_path / "custody.jsonl").write_bytes(log.text)
    put(tmp_path, checkpoint(log.lines, 9), key)
    made = disclose(str(tmp_path / "custody.jsonl"), exhibit="EX1")
    assert list(made.lines) == [2, 3, 5, 6, 7, 9]
    assert list(disclose(str(tmp_path / "custody.jsonl"), exhibit="EX2", numbers=[1]).lines) == [1, 4, 8]


def test_hand_overs_of_an_exhibit_come_with_it_and_those_of_others_are_named(
    tmp_path: Path, key: Path
) -> None:
    log = forge.Forge()
    log.open()
    log.hash_act()  # 2, 3: EX1
    log.event("custody.transferred", {"exhibits": [{"exhibit": "EX1"}]})  # 4
    log.event("custody.transferred", {"exhibits": [{"exhibit": "EX1"}, {"exhibit": "EX2"}]})  # 5
    log.event("custody.received", {"exhibits": [{"exhibit": "EX2"}]})  # 6
    (tmp_path / "custody.jsonl").write_bytes(log.text)
    put(tmp_path, checkpoint(log.lines, 6), key)
    made = disclose(str(tmp_path / "custody.jsonl"), exhibit="EX1")
    assert list(made.lines) == [2, 3, 4]
    assert "lines about EX1 and other exhibits are left out (5): --line N gives them, too" in made.notices
    asked = disclose(str(tmp_path / "custody.jsonl"), exhibit="EX1", numbers=[5])
    assert list(asked.lines) == [2, 3, 4, 5]
    assert not [text for text in asked.notices if "left out" in text]


def test_the_newest_signed_checkpoint_is_taken(case: Path, key: Path) -> None:
    put(case, checkpoint(LINES, SIZE + 1, 2), key)
    put(case, checkpoint(LINES, SIZE + 2, 3), None)
    log = str(case / "custody.jsonl")
    assert disclose(log, numbers=[2]).checkpoint.n == 2
    made = disclose(log, numbers=[SIZE + 2])
    assert (made.checkpoint.n, made.signed) == (3, False)
    assert any("unsigned" in text for text in made.notices)


def test_what_is_refused(case: Path, tmp_path: Path) -> None:
    log = str(case / "custody.jsonl")
    for asked in ({}, {"numbers": [99]}, {"exhibit": "EX7"}):
        with pytest.raises(UsageError):
            disclose(log, **asked)
    with pytest.raises(CustodyError, match="no checkpoint") as caught:
        disclose(log, numbers=[SIZE + 1])
    assert "log checkpoint" in str(caught.value.hint)
    (tmp_path / "there").mkdir()
    with pytest.raises(CustodyError, match="File exists"):
        write_disclosure(disclose(log, numbers=[2]), str(tmp_path / "there"))
    assert list((tmp_path / "there").iterdir()) == []
    (case / "custody.jsonl").write_bytes(
        b"".join([*LINES[:3], LINES[3].replace(b"jane", b"jonn"), *LINES[4:]])
    )
    with pytest.raises(CustodyError) as caught:
        disclose(log, numbers=[2])
    assert caught.value.code == "MERKLE"


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path, Path], None]:
    def tamper(folder: Path, key: Path) -> None:
        del key
        path = folder / name
        old = path.read_bytes()
        path.write_bytes(change(old))
        assert path.read_bytes() != old

    return tamper


def resign(folder: Path, key: Path) -> None:
    """Another key signs the same."""
    other = keys.make_key(folder.parent / "other")
    (folder / "checkpoints" / "000001.txt.sig").unlink()
    put(folder, Checkpoint.parse((folder / "checkpoints/000001.txt").read_bytes()), other)
    del key


def unsign(folder: Path, key: Path) -> None:
    """Other lines, a checkpoint that fits them, and nobody who signs it."""
    del key
    lines = [line.replace(b"jane@lab", b"jane@lad") for line in LINES]
    shutil.rmtree(folder / "checkpoints")
    point = checkpoint(lines, SIZE)
    put(folder, point, None)
    (folder / "lines.jsonl").write_bytes(lines[1])
    path = inclusion_path([leaf_hash(line) for line in lines[:SIZE]], 1)
    (folder / "paths.txt").write_text(" ".join(["2", *(node.hex() for node in path)]) + "\n")


TAMPERINGS = {
    "a byte of a line": (
        rewrite("lines.jsonl", lambda old: old.replace(b"jane@lab", b"jane@lad", 1)),
        "MERKLE",
    ),
    "CRLF": (rewrite("lines.jsonl", lambda old: old.replace(b"\n", b"\r\n")), "MERKLE"),
    "BOM": (rewrite("lines.jsonl", lambda old: b"\xef\xbb\xbf" + old), "MERKLE"),
    "blanks": (rewrite("lines.jsonl", lambda old: old.replace(b"\n", b" \n")), "MERKLE"),
    "gzip": (rewrite("lines.jsonl", gzip.compress), "MERKLE"),
    "a line more": (rewrite("lines.jsonl", lambda old: old + LINES[0]), "EXTRA_FILE"),
    "a line less": (rewrite("lines.jsonl", lambda old: old[: -len(LINES[8])]), "MERKLE"),
    "no LF": (rewrite("lines.jsonl", lambda old: old[:-1]), "MERKLE"),
    "another number": (rewrite("paths.txt", lambda old: b"1" + old[1:]), "MERKLE"),
    "a number past the end": (rewrite("paths.txt", lambda old: old.replace(b"\n9 ", b"\n10 ")), "MERKLE"),
    "a digit of a path": (
        rewrite("paths.txt", lambda old: old[:-2] + (b"0" if old[-2:-1] != b"0" else b"1") + b"\n"),
        "MERKLE",
    ),
    "a path that is longer": (
        rewrite("paths.txt", lambda old: old[:-1] + b" " + b"0" * 64 + b"\n"),
        "MERKLE",
    ),
    "a path that is shorter": (rewrite("paths.txt", lambda old: old[:-66] + b"\n"), "MERKLE"),
    "order": (
        rewrite("paths.txt", lambda old: b"".join(sorted(old.splitlines(keepends=True), reverse=True))),
        "MERKLE",
    ),
    "the root": (
        rewrite("checkpoints/000001.txt", lambda old: old.replace(b"merkle: ", b"merkle: 0")[:-1]),
        None,
    ),
    "the signer": (rewrite("checkpoints/000001.txt", lambda old: old.replace(b"jane@", b"joan@")), "SUMS"),
    "the signature": (
        rewrite("checkpoints/000001.txt.sig", lambda old: old.replace(b"U1NIU0lH", b"U1NIU0lI")),
        "SUMS",
    ),
    "the sums": (rewrite("checkpoints/000001.sums", lambda old: b"0" + old[1:]), "SUMS"),
    "CRLF in the paths": (rewrite("paths.txt", lambda old: old.replace(b"\n", b"\r\n")), None),
    "CRLF in the checkpoint": (
        rewrite("checkpoints/000001.txt", lambda old: old.replace(b"\n", b"\r\n")),
        None,
    ),
    "another key": (resign, "BAD_SIGNATURE"),
    "no signature, other lines": (unsign, "UNSIGNED_CHECKPOINT"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tamperings(name: str, received: Path, signers: Path, key: Path) -> None:
    """None as the code: the folder is none that could be checked, exit code 3."""
    tamper, code = TAMPERINGS[name]
    tamper(received, key)
    if code is None:
        with pytest.raises(CustodyError):
            check_disclosure(str(received), signers=signers)
        assert by_hand(received, signers) in {1, 3}
        return
    found = check_disclosure(str(received), signers=signers)
    assert found.failed
    codes = {item.code for item in found.findings}
    assert code in codes or (name == "another key" and "UNKNOWN_SIGNER" in codes)
    assert by_hand(received, signers) in {1, 3}


def test_without_a_list_nobody_vouches(received: Path, key: Path) -> None:
    found = check_disclosure(str(received))
    assert ([item.code for item in found.findings], found.failed) == (["SELF_ASSERTED"], False)
    assert by_hand(received) == 0
    rewrite("checkpoints/000001.txt", lambda old: old.replace(b"reason: transfer", b"reason: transfers"))(
        received, key
    )
    assert {item.code for item in check_disclosure(str(received)).findings} == {"SUMS", "BAD_SIGNATURE"}
    assert by_hand(received) == 1


def test_files_that_do_not_belong(received: Path, signers: Path) -> None:
    (received / "extra\x1b").write_text("x")
    (received / "checkpoints" / "000002.sums").write_text("x")
    found = check_disclosure(str(received), signers=signers)
    assert [item.code for item in found.findings] == ["EXTRA_FILE", "EXTRA_FILE"]
    assert not any("\x1b" in item.message for item in found.findings)
    (received / "checkpoints" / "000002.txt").write_text("x")
    with pytest.raises(CustodyError, match="2 checkpoints"):
        check_disclosure(str(received), signers=signers)
    assert by_hand(received, signers) == 3


def test_a_swapped_leaf_and_node_prove_nothing(received: Path, signers: Path) -> None:
    """A node cannot be passed off as a line: leaves and nodes are hashed apart."""
    words = (received / "paths.txt").read_bytes().splitlines()[0].split()
    forged = bytes.fromhex(words[1].decode()) + leaf_hash(LINES[1])
    (received / "lines.jsonl").write_bytes(b"\x01" + forged + b"\n")
    (received / "paths.txt").write_bytes(b" ".join([b"1", *words[2:]]) + b"\n")
    assert check_disclosure(str(received), signers=signers).failed
    assert by_hand(received, signers) in {1, 3}  # a hash may hold a line feed


@pytest.mark.parametrize(
    "name", ["lines.jsonl", "paths.txt", "checkpoints/000001.txt", "checkpoints/000001.sums"]
)
def test_what_is_no_file_of_the_folder_is_not_read(received: Path, name: str) -> None:
    path = received / name
    kept = path.rename(received.parent / "elsewhere")
    path.symlink_to(kept)
    with pytest.raises(CustodyError, match="symbolic"):
        check_disclosure(str(received))
    path.unlink()
    for make, problem in ((os.mkdir, "a folder"), (os.mkfifo, "no regular file")):
        make(path)
        with pytest.raises(CustodyError, match=problem):
            check_disclosure(str(received))
        shutil.move(path, received.parent / make.__name__)


def test_no_changed_byte_passes_for_another_line(received: Path, signers: Path) -> None:
    """Bytes of every file that counts: what still passes says the same of the same lines."""
    chance = random.Random(7)
    for name in (
        "lines.jsonl",
        "paths.txt",
        *(f"checkpoints/000001.{end}" for end in ("txt", "txt.sig", "sums")),
    ):
        path = received / name
        good = path.read_bytes()
        for _ in range(12):
            bad = bytearray(good)
            bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
            path.write_bytes(bad)
            try:
                found = check_disclosure(str(received), signers=signers)
            except CustodyError:
                continue
            assert found.failed, (name, bytes(bad))
        path.write_bytes(good)
    assert not check_disclosure(str(received), signers=signers).failed


def test_a_hostile_checkpoint_writes_nothing_to_the_terminal(received: Path) -> None:
    path = received / "checkpoints" / "000001.txt"
    good = path.read_bytes()
    for evil in (rb"\033[31m", b"\x1b[31m", "\u202e".encode(), b"\r"):
        path.write_bytes(good.replace(b"time: 2026", b"time: " + evil))
        done = subprocess.run(["sh", received / "check.sh"], capture_output=True, check=False)
        assert done.returncode in {1, 3}
        assert b"\x1b" not in done.stdout + done.stderr
        assert b"\xe2" not in done.stdout + done.stderr

"""The custody log: append, whatever its length, and verification."""

from __future__ import annotations

import functools
import os
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from imgkit.custody.checkpoints import make_checkpoint
from imgkit.custody.log import CustodyLog
from imgkit.custody.record import decode, encode, line_hash
from imgkit.custody.session import Actor, Session
from imgkit.custody.ssh import Signer, sign
from imgkit.custody.state import StateFolder
from imgkit.custody.verify import verify_log
from tests.benchmarks.measuring import RUNS, Sample, Table, calls_in_turn, ms, ratio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.bench
ACTOR = Actor("Bench", "bench@localhost")
DIGESTS = {"of": "media", "digests": {"sha256": "0" * 64}}


def long_log(folder: Path, records: int) -> Path:
    """A true log of `records` lines: a pair of real records, repeated with new numbers and a new chain."""
    state = StateFolder(folder / "state")
    with Session(ACTOR, state) as session:
        log = CustodyLog.create(str(folder / "case"), session)
        log.outcome(log.intent("evidence.hashed", {"of": "media"}, exhibit="EX1"), "ok", DIGESTS)
        log.outcome(log.intent("evidence.hashed", {"of": "media"}, exhibit="EX1"), "ok", DIGESTS)
    path = folder / "case" / "custody.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    pair, before = [decode(line) for line in lines[-2:]], line_hash(lines[-1])
    with path.open("ab") as file:
        for number in range(len(lines) + 1, records + 1):
            op = f"00000000-0000-4000-8000-{(number - len(lines) - 1) // 2:012x}"
            record = pair[(number - len(lines) - 1) % 2]
            line = encode({**record, "seq": number, "prev": before, "op": op})
            before = line_hash(line)
            file.write(line)
    return path


def test_append(tmp_path: Path, tables: list[Table]) -> None:
    table = Table("Append to the custody log", ("lines before", "time of one record", "it / the short log"))
    calls: dict[str, Callable[[], object]] = {}
    with ExitStack() as stack:
        for records in (11, 10_001, 100_001):
            path, state = (
                long_log(tmp_path / str(records), records),
                StateFolder(tmp_path / f"state-{records}"),
            )
            log = CustodyLog.open(str(path), stack.enter_context(Session(ACTOR, state)))
            calls[f"{records:,}"] = functools.partial(log.event, "note.added", {"sha256": "0" * 64})
        os.sync()  # what was just written here is not to be paid by the first fsync of a record
        found = calls_in_turn(calls, runs=40 * RUNS)
    for name, sample in found.items():
        table.add(name, ms(sample), ratio(sample, found["11"]))
    tables.append(table)
    assert len(table.rows) == len(calls)


def test_checkpoint(tmp_path: Path, tables: list[Table]) -> None:
    """A checkpoint beyond what ssh-keygen takes: reading the log, its root, three files, a record."""
    columns = ("lines before", "checkpoint, signed", "ssh-keygen alone", "beyond it")
    table = Table("Make a checkpoint", columns)
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signer = Signer("bench@localhost", str(key))
    for records in (101, 10_001, 100_001):
        path, state = long_log(tmp_path / str(records), records), StateFolder(tmp_path / f"state-{records}")
        with Session(ACTOR, state) as session:
            log = CustodyLog.open(str(path), session)
            calls: dict[str, Callable[[], object]] = {
                "whole": functools.partial(make_checkpoint, log, reason="bench", signer=signer),
                "ssh": functools.partial(sign, b"x" * 450, signer),
            }
            os.sync()
            found = calls_in_turn(calls, runs=2 * RUNS)
        beyond = Sample(found["whole"].seconds - found["ssh"].seconds)
        table.add(f"{records:,}", ms(found["whole"]), ms(found["ssh"]), ms(beyond))
    tables.append(table)
    assert len(table.rows) == 3


def test_verify(tmp_path: Path, tables: list[Table]) -> None:
    columns = ("lines", "time", "records/s", "it / half the lines")
    table, before = Table("Verify the custody log", columns), None
    for records in (25_001, 50_001, 100_001):
        path = long_log(tmp_path / str(records), records)
        assert not [found for found in verify_log(str(path)).findings if found.severity == "FAIL"]
        found = calls_in_turn({"verify": functools.partial(verify_log, str(path))})["verify"]
        table.add(
            f"{records:,}",
            ms(found),
            f"{records / found.seconds:,.0f}",
            ratio(found, before) if before else "",
        )
        before = found
    tables.append(table)


def test_verify_signed(tmp_path: Path, tables: list[Table]) -> None:
    """Prefix hashes, Merkle roots and every signature come on top; 3 s are the bar for 100,000 records."""
    columns = ("lines, signed checkpoints", "time", "records/s", "it / without")
    table = Table("Verify the custody log, signatures included", columns)
    key, signers = tmp_path / "id", tmp_path / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers.write_text(f"bench@localhost {key.with_suffix('.pub').read_text()}")
    path, state = long_log(tmp_path / "log", 100_001), StateFolder(tmp_path / "state")
    plain = calls_in_turn({"verify": functools.partial(verify_log, str(path))})["verify"]
    for checkpoints in (1, 10):
        with Session(ACTOR, state) as session:
            log, signer = CustodyLog.open(str(path), session), Signer("bench@localhost", str(key))
            for _ in range(checkpoints):
                make_checkpoint(log, reason="bench", signer=signer)
        call = functools.partial(verify_log, str(path), signers=signers)
        assert not call().failed
        found = calls_in_turn({"verify": call})["verify"]
        name = f"100,001, {len(list(path.parent.glob('checkpoints/*.sig')))}"
        table.add(name, ms(found), f"{100_001 / found.seconds:,.0f}", ratio(found, plain))
    tables.append(table)
    assert len(table.rows) == len(columns) - 2

"""Times that contradict each other: a checkpoint dated back, a line dated before the time stamp that it records."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from imgkit.custody.verify import verify_log
from tests.custody.forge import Forge
from tests.custody.verify.sealed import Authority, Key, Sealed, sealed

if TYPE_CHECKING:
    from pathlib import Path

ALONE = {"TIMESTAMP_MISSING", "NO_RECEIPT", "NO_HEAD_MEMORY"}


def dated(key: Key, seconds: float) -> Sealed:
    """A case whose only checkpoint says another time than the lines around it."""
    made = Sealed(Forge(), key)
    made.forge.open()
    made.forge.hash_act()
    said = made.forge.utc + dt.timedelta(seconds=seconds)
    made.checkpoint(time=said.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    return made


@pytest.mark.parametrize(("seconds", "words"), [
    (-3600, "line 3, the last that it covers, says"), (-62, "the last that it covers"), (3600, "the line that records it says"),
    (61, "the line that records it says"),
])  # fmt: skip
def test_a_checkpoint_of_another_time_than_its_lines(
    seconds: float, words: str, tmp_path: Path, jane: Key, signers: Path
) -> None:
    """Whoever dates a checkpoint back to when a key was good contradicts the lines that it covers."""
    dated(jane, seconds).write(tmp_path / "case")
    found = verify_log(tmp_path / "case", signers=signers)
    assert found.codes == ALONE | {"CLOCK_BACK"}
    told = next(one for one in found.findings if one.code == "CLOCK_BACK")
    assert told.line == 4
    assert words in told.message


@pytest.mark.parametrize("seconds", [-59, 0, 59])
def test_clocks_of_two_hosts_may_differ_by_a_minute(
    seconds: float, tmp_path: Path, jane: Key, signers: Path
) -> None:
    dated(jane, seconds).write(tmp_path / "case")
    assert verify_log(tmp_path / "case", signers=signers).codes == ALONE


def test_a_signature_that_took_long(tmp_path: Path, jane: Key, signers: Path) -> None:
    """Somebody looks for their passphrase for five minutes: the body is older than its line, as it should be."""
    made = Sealed(Forge(), jane)
    made.forge.open()
    before = made.forge.utc
    made.forge.pass_time(300)
    made.checkpoint(time=before.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    made.write(tmp_path / "case")
    assert verify_log(tmp_path / "case", signers=signers).codes == ALONE


def test_a_line_older_than_the_reply_it_records(
    tmp_path: Path, jane: Key, signers: Path, authority: Authority
) -> None:
    """Lines after a time stamp hold its digest: they cannot say that they were written before it."""
    sealed(jane, authority, age=dt.timedelta(hours=2)).write(tmp_path / "case")
    found = verify_log(tmp_path / "case", signers=signers, tsa_roots=authority.roots)
    assert found.codes == {"NO_RECEIPT", "NO_HEAD_MEMORY", "CLOCK_BACK"}
    told = [one for one in found.findings if one.code == "CLOCK_BACK"]
    assert [one.line for one in told] == [5, 10]
    assert "the reply that it records was made after that" in told[0].message

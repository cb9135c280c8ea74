"""What lines say of checkpoints, signatures and stamps is held against these: imgkit and verify.sh say the same."""

from __future__ import annotations

import copy
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imgkit.custody
from imgkit.custody.stamps import check_reply
from imgkit.custody.verify import verify_log
from tests.custody.forge import chain, parse
from tests.custody.verify.sealed import Authority, Key, Sealed, sealed

SCRIPT = Path(imgkit.custody.__file__).parent / "verify.sh"
ALONE = {"NO_RECEIPT", "NO_HEAD_MEMORY"}


@pytest.fixture(scope="module")
def case(jane: Key, authority: Authority) -> Sealed:
    return sealed(jane, authority)


Judge = Callable[[Sealed], set[str]]


@pytest.fixture
def codes(tmp_path: Path, signers: Path, authority: Authority) -> Judge:
    """What both find."""
    return lambda made: _codes(made.write(tmp_path / "case"), signers, authority)


def _codes(place: Path, signers: Path, authority: Authority) -> set[str]:
    found = verify_log(place, signers=signers, tsa_roots=authority.roots)
    words = ["sh", str(SCRIPT), "-s", str(signers), "-t", str(authority.roots), str(place)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    told = [line.replace(":", " ").split() for line in ran.stdout.splitlines()]
    assert {word[1] for word in told if word[0] in ("FAIL", "WARN")} == found.codes - {"NO_HEAD_MEMORY"}, (
        ran.stdout
    )
    return set(found.codes)


def with_lines(case: Sealed, change: Callable[[dict[str, Any]], None]) -> Sealed:
    """The same case with other records, chained anew; nobody signs or stamps it again."""
    records = [parse(line) for line in case.lines]
    for record in records:
        change(record)
    made = copy.deepcopy(case)
    made.lines = chain([*records])
    return made


def lie(kind: str, which: int, key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        if record["type"] == kind and record["seq"] == which:
            record["data"][key] = value

    return change


@pytest.mark.parametrize(("key", "value"), [
    ("n", 1), ("time", "2020-01-01T00:00:00.000000Z"), ("sums", "0" * 64), ("serial", "ffff"), ("time", "a b\nc"),
])  # fmt: skip
def test_a_line_that_lies_of_its_stamp(key: str, value: object, case: Sealed, codes: Judge) -> None:
    assert codes(with_lines(case, lie("log.anchored", 10, key, value))) == ALONE | {"BAD_TIMESTAMP"}


def test_a_line_that_tells_the_truth_of_its_stamp(case: Sealed, codes: Judge) -> None:
    name = "000002.sums"
    facts = check_reply(case.files[f"{name}.tsa.tsr"], sums=case.files[name])
    true = {"n": 2, "time": facts.time, "sums": facts.imprint, "serial": f"00{facts.serial}"}

    def change(record: dict[str, Any]) -> None:
        record["data"] |= true if record["seq"] == 10 else {}

    assert codes(with_lines(case, change)) == ALONE


@pytest.mark.parametrize(("key", "value", "more"), [
    ("fingerprint", "SHA256:x", {"BAD_SIGNATURE", "UNSIGNED_TAIL"}), ("n", {}, {"CHECKPOINT_CHAIN"}),
    ("reason", "another", {"CHECKPOINT_CHAIN", "UNSIGNED_TAIL", "TIMESTAMP_MISSING"}),
    ("signer", "another", {"CHECKPOINT_CHAIN", "UNSIGNED_TAIL", "TIMESTAMP_MISSING"}),
    ("merkle", "0" * 64, {"CHECKPOINT_CHAIN", "UNSIGNED_TAIL", "TIMESTAMP_MISSING"}),
])  # fmt: skip
def test_a_line_that_lies_of_its_checkpoint(
    key: str, value: object, more: set[str], case: Sealed, codes: Judge
) -> None:
    """It is the last checkpoint's line: no checkpoint covers it, and nothing but its own files contradict it."""
    assert codes(with_lines(case, lie("log.checkpointed", 9, key, value))) == ALONE | more


def test_bytes_after_a_reply(case: Sealed, codes: Judge) -> None:
    """Stock openssl does not look at them; the log may name the reply with them."""
    name = "000002.sums.tsa.tsr"
    reply = case.files[name] + b"\n"
    made = with_lines(case, lie("log.anchored", 10, "sha256", hashlib.sha256(reply).hexdigest()))
    made.files[name] = reply
    assert codes(made) == ALONE | {"BAD_TIMESTAMP", "TIMESTAMP_MISSING"}


def test_a_stamp_named_twice(case: Sealed, codes: Judge) -> None:
    made = with_lines(case, lambda _: None)
    made.lines = chain([*made.lines, parse(made.lines[-1])])
    assert codes(made) == ALONE

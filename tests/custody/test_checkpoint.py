"""The body of a checkpoint and a receipt, byte for byte; what is nearly one is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imgkit.custody.checkpoint import Checkpoint, Receipt, case_word
from imgkit.errors import CustodyError

LOG = "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"
POINT = Checkpoint(
    n=12, log=LOG, case="2026-0142", size=57, bytes=41873, head="a" * 64, file="b" * 64, merkle="c" * 64,
    prev="d" * 64, time="2026-05-01T12:34:56.123456Z", signer="jane.doe@lab.example", reason="transfer",
)  # fmt: skip
BODY = f"""\
imgkit-checkpoint/v1
n: 12
log: {LOG}
case: 2026-0142
size: 57
bytes: 41873
head: {"a" * 64}
file: {"b" * 64}
merkle: {"c" * 64}
prev: {"d" * 64}
time: 2026-05-01T12:34:56.123456Z
signer: jane.doe@lab.example
reason: transfer
""".encode()


def test_body_is_exactly_these_lines() -> None:
    assert POINT.body == BODY
    assert Checkpoint.parse(BODY) == POINT
    assert POINT.name == "000012"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\n", b"\r\n"),
        (b"imgkit", b"\xef\xbb\xbfimgkit"),
        (b"/v1", b"/v2"),
        (b"size: 57", b"size: 057"),
        (b"size: 57", b"size: 57 "),
        (b"size: 57", b"size:57"),
        (b"size: 57", b"size: -57"),
        (b"size: 57\nbytes: 41873", b"bytes: 41873\nsize: 57"),
        (b"n: 12\n", b""),
        (b"n: 12\n", b"n: 12\nn: 12\n"),
        (b"a" * 64, b"A" * 64),
        (b"a" * 64, b"a" * 63),
        (b"123456Z", b"123456+00:00"),
        (b"transfer\n", b"transfer"),
        (b"transfer\n", b"transfer\n\n"),
        (b"transfer\n", b"\n"),
        (b"transfer", b"transfer\t"),
        (b"transfer", "trânsfer".encode()),
        (b"transfer", b"t" * 5000),
    ],
)
def test_what_is_nearly_a_body_is_none(old: bytes, new: bytes) -> None:
    assert old in BODY
    with pytest.raises(CustodyError, match="is no checkpoint"):
        Checkpoint.parse(BODY.replace(old, new, 1))


@pytest.mark.parametrize("reason", ["", "two\nlines", "é", "x" * 1025])
def test_a_reason_that_would_break_the_lines_is_refused(reason: str) -> None:
    with pytest.raises(CustodyError, match="cannot say reason"):
        _ = replace(POINT, reason=reason).body


def test_a_case_number_becomes_one_ascii_word_of_lines() -> None:
    assert case_word("2026-0142") == "2026-0142"
    assert case_word("Fall 7/ä\nX") == "Fall 7/\\xe4\\nX"
    assert case_word(None) == case_word("") == "-"


def test_a_receipt_reads_what_it_writes_and_what_paper_made_of_it() -> None:
    receipt = POINT.receipt
    line = f"imgkit-receipt/1 {LOG} 57 41873 {'a' * 64} {'b' * 64}"
    assert str(receipt) == line
    assert Receipt.parse(line) == receipt
    assert Receipt.parse("\n  " + line.upper().replace(" ", "\r\n ") + " \n") == receipt


@pytest.mark.parametrize("text", ["", "imgkit-receipt/1", "imgkit-receipt/2 " + str(POINT.receipt)[17:],
                                  str(POINT.receipt)[:-1], str(POINT.receipt) + " x"])  # fmt: skip
def test_what_is_no_receipt(text: str) -> None:
    with pytest.raises(CustodyError, match="is no receipt"):
        Receipt.parse(text)

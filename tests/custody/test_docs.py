"""The pages about the log say what is so: the example verifies, every code and type is explained."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from imgkit.custody.schema import TYPES
from imgkit.custody.verify import CODES, verify_log

DOCS = Path(__file__).parent.parent.parent / "docs"
FORMAT = (DOCS / "custody-log.md").read_text()
POLICY = (DOCS / "verification-policy.md").read_text()


def example() -> bytes:
    (block,) = re.findall(r"```jsonl\n(.*?)```", FORMAT, re.DOTALL)
    return str(block).encode()


def test_the_example_verifies(tmp_path: Path) -> None:
    path = tmp_path / "custody.jsonl"
    path.write_bytes(example())
    found = verify_log(path)
    assert found.codes == {"UNSIGNED_TAIL", "NO_RECEIPT", "NO_HEAD_MEMORY"}
    assert f"its head is `{found.head}`" in FORMAT


def test_the_example_by_the_words_of_the_page() -> None:
    lines = example().splitlines(keepends=True)
    before = "0" * 64
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        again = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        assert line == again.encode() + b"\n"
        assert (record["seq"], record["prev"]) == (number, before)
        before = hashlib.sha256(line).hexdigest()
    prev = json.loads(lines[2])["prev"]
    assert f"`{prev[:8]}…{prev[-8:]}`" in FORMAT


@pytest.mark.parametrize("type_", sorted(TYPES))
def test_every_type_is_explained(type_: str) -> None:
    table = FORMAT.partition("## 6. Types")[2].partition("## 7.")[0]
    assert f"`{type_}`" in table or f"`.{type_.split('.')[1]}`" in table


def test_every_code_is_explained_in_the_order_of_the_checks() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)`[^|]*\| (FAIL|WARN|INFO)", POLICY, re.MULTILINE)
    assert rows == [(code, severity.value) for code, severity in CODES.items()]

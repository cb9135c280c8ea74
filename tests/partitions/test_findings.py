"""docs/findings.md lists exactly the codes that the source can give, with the severities that it gives them."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT

CODE = re.compile(r"(gpt|dos|table|media|witness|sector-size|amiga)\.[a-z0-9-]+")
SEVERITIES = {"info", "warning", "error"}


def in_the_source() -> dict[str, set[str]]:
    """Code -> severities: calls that have both as constants, in any argument; the witnesses' is compare()'s own."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "imgkit" / "partitions").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            words = [
                item.value
                for item in node.args
                if isinstance(item, ast.Constant) and isinstance(item.value, str)
            ]
            for code in filter(CODE.fullmatch, words):
                found.setdefault(code, set()).update(set(words) & SEVERITIES or {"warning"})
    return found


def in_the_docs() -> dict[str, set[str]]:
    rows = re.findall(
        r"^\| `([^`]+)` \| ([a-z, ]+) \|", (ROOT / "docs" / "findings.md").read_text(), re.MULTILINE
    )
    assert len(rows) == len({code for code, _ in rows}), "a code is listed twice"
    return {code: set(severity.split(", ")) for code, severity in rows}


def test_docs_and_source_have_the_same_codes() -> None:
    source, docs = in_the_source(), in_the_docs()
    assert sorted(docs) == sorted(source)
    assert docs == source
    assert len(docs) > 40

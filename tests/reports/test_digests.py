"""Digests that a container states are told of in reports: both, where it states two that differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.reports.forged import Case, added, made

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["html", "facts"])
def test_a_digest_that_a_container_states_differently_in_a_second_place(tmp_path: Path, name: str) -> None:
    case = Case(tmp_path / "case")
    case.forge.open({"number": "7"})
    facts = added(stored_digests={"md5": "4a" * 16}, disputed_digests={"md5": "5b" * 16})
    case.forge.act("evidence.added", facts, facts)
    text = re.sub(r"<[^>]*>|\s+", "", made(name, case.save()).decode())
    assert "4a" * 16 in text
    assert "5b" * 16 in text
    assert "storedinthecontainerasecondtime,anddifferent" in text

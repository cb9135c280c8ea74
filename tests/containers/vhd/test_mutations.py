"""A few hundred mutations of each: no other error than imgkit's, no hang, bounded memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.containers.fuzz import TIME
from tests.containers.vhd.mutations import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("kind", "count"), [("vhd", 400), ("vhdx", 80)])
def test_mutations(tmp_path: Path, kind: str, count: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed, outcome, seconds in run(kind, tmp_path, range(count)):
        assert seconds < TIME, seed
        outcomes[outcome.split(":")[0]] += 1
    assert set(outcomes) <= {"refused", "all served", "some lost", "other"}
    assert outcomes["refused"] > count // 10
    assert outcomes["all served"] > count // 10
    assert outcomes["some lost"] > 0

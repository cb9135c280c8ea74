"""Mutated disks end in imgkit's errors or in the right bytes. `python -m tests.containers.fuzz --format vmdk` tries 20,000."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.containers.fuzz import run

FIRST = 1_000_000  # beyond what is tried by hand
COUNT = 400


@pytest.mark.xdist_group("fuzz")
def test_mutated_disks_are_refused_or_tell_the_truth() -> None:
    results = list(run("vmdk", range(FIRST, FIRST + COUNT)))
    assert [result for result in results if result.fault] == []
    assert len(results) == COUNT
    outcomes = Counter(result.outcome.partition(":")[0] for result in results)
    assert min(outcomes["refused"], outcomes["some lost"], outcomes["all served"]) > COUNT // 40, outcomes

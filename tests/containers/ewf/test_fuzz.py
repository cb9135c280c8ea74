"""Mutated sets end in imgkit's errors or in the right bytes. `python -m tests.containers.fuzz --format ewf` tries 20,000."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.containers.fuzz import run

FIRST = 1_000_000  # beyond what is tried by hand
COUNT = 600


@pytest.mark.xdist_group("fuzz")
def test_mutated_sets_are_refused_or_tell_the_truth() -> None:
    results = list(run("ewf", range(FIRST, FIRST + COUNT)))
    assert [result for result in results if result.fault] == []
    assert len(results) == COUNT
    outcomes = Counter(result.outcome.partition(":")[0] for result in results)
    # The mutations reach all that a reader can say: none of these is rare.
    assert min(outcomes["refused"], outcomes["some lost"], outcomes["all served"]) > COUNT // 20, outcomes

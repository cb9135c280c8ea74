"""A few hundred mutations in each run; many thousands by hand (mutate.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.containers.qcow2.mutate import run_many

if TYPE_CHECKING:
    from pathlib import Path


def test_mutations_end_in_bytes_or_in_an_error(tmp_path: Path) -> None:
    found = run_many(tmp_path, 400, seed=7)
    assert found["CorruptImage"] > 50
    assert found["read"] > 50
    assert found["read in part"] > 10

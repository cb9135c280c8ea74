"""Root hands over for an ordinary user: what is written is theirs, what only root may read is read all the same."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import Imgkit

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
BOB = "Bob Roe <bob@court.example>"


@pytest.fixture
def theirs(live: None) -> Iterator[Imgkit]:
    """Imgkit run by root in a folder of a user who may not read root's Python."""
    base = Path(tempfile.mkdtemp(prefix="imgkit-test-", dir="/var/tmp"))
    try:
        base.chmod(0o755)
        imgkit = Imgkit(base)
        os.chown(imgkit.folder, NOBODY, NOBODY)
        yield imgkit
    finally:
        shutil.rmtree(base)


@pytest.mark.live
def test_a_bag_belongs_to_whom_its_folder_belongs(theirs: Imgkit) -> None:
    (theirs.base / "disk.dd").write_bytes(b"evidence" * 512)
    (theirs.base / "disk.dd").chmod(0o600)
    for name in ("A", "B"):
        (theirs.folder / name).mkdir()
        os.chown(theirs.folder / name, NOBODY, NOBODY)
        theirs("case", "new", name).ended(0)
    theirs("case", "add", theirs.base / "disk.dd", "--case", "A").ended(0)
    theirs("case", "transfer", "--case", "A", "--to", BOB, "--with-images", "-o", "bag").ended(0)
    bob = {"IMGKIT_EXAMINER": BOB, "XDG_STATE_HOME": str(theirs.base / "other")}
    theirs("case", "receive", "bag", "--case", "B", "-o", "back.txt", env=dict(bob)).ended(0)
    made = [path for name in ("bag", "A", "B") for path in (theirs.folder / name).rglob("*")]
    assert {path.lstat().st_uid for path in (*made, theirs.folder / "back.txt")} == {NOBODY}
    assert not [path for path in made if path.is_file() and path.stat().st_mode & 0o007]

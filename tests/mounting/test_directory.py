"""The directory that is mounted on: made and taken away again, refused where it will not do, one command's at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imgkit.errors import MountError
from imgkit.mounting import place_for_mount

if TYPE_CHECKING:
    from pathlib import Path


def test_two_at_once_are_not_both_let_in(tmp_path: Path) -> None:
    with place_for_mount(str(tmp_path / "m"), None):
        refused = place_for_mount(str(tmp_path / "m"), None)
        with pytest.raises(MountError, match="another command mounts there at this moment"):
            refused.__enter__()
        assert (tmp_path / "m").is_dir()
    with place_for_mount(str(tmp_path / "m"), None) as place:
        assert (place.path, place.created) == (str(tmp_path / "m"), ())


def test_what_was_made_goes_when_it_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with place_for_mount(str(tmp_path / "a/b"), None) as place:
            assert place.created == (str(tmp_path / "a"), str(tmp_path / "a/b"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [("full", "is not empty"), ("full/file", "is no directory"), ("link", "is a symbolic link")],
)
def test_what_will_not_do(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_bytes(b"")
    (tmp_path / "link").symlink_to("full")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(MountError, match=reason):
        place_for_mount(str(tmp_path / name), None).__enter__()
    assert len(os.listdir("/proc/self/fd")) == before

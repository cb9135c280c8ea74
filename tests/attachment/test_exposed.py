"""Names of served files: whose they are is told by sysfs alone, when nobody answers any more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imgkit.attachment.ask import lies_on_fuse
from imgkit.attachment.facts import Exposed, exposed_name, split_exposed_name
from imgkit.attachment.guard import guard_of_files
from imgkit.linux.files import take_read_lease
from imgkit.linux.process import is_running

if TYPE_CHECKING:
    from pathlib import Path

LOG = "1f0d7c1e-8a8e-4a57-9a3e-3f6a2b1c0d9e"


@pytest.mark.parametrize(
    ("label", "log"), [(f"imgkit:{LOG}:57", LOG), ("imgkit:none:4711:0a1b2c3d", None)], ids=["log", "none"]
)
def test_a_name_says_whose_it_is(label: str, log: str | None) -> None:
    name = exposed_name(label)
    assert split_exposed_name(f"/{name}") == (log, name)
    assert lies_on_fuse(f"/{name}")


@pytest.mark.parametrize(
    "path",
    ["", "/imgkit-", f"/imgkit-{LOG}", f"/x/imgkit-{LOG}-57", f"/imgkit-{LOG}-57/x", "/imgkit-none-x-y"],
)
def test_other_paths_are_nobodys(path: str) -> None:
    assert split_exposed_name(path) is None


def test_a_process_is_alive_only_if_it_is_there_and_answers() -> None:
    assert Exposed("x", 1, answers=True).alive
    assert not Exposed("x", 1, answers=False).alive
    assert not Exposed("x", None, answers=True).alive
    assert is_running(os.getpid())
    assert not is_running(0)


def test_the_guard_of_several_files_is_the_worst(tmp_path: Path) -> None:
    held, free = tmp_path / "held", tmp_path / "free"
    for path in (held, free):
        path.write_bytes(b"x")
    fd = os.open(held, os.O_RDONLY)
    try:
        take_read_lease(fd)
        places = [(found.st_dev, found.st_ino) for found in (held.stat(), free.stat())]
        assert guard_of_files(places[:1]) == "lease"
        assert guard_of_files(places) in {"none", "unknown"}  # unknown in another pid namespace
        with pytest.raises(BlockingIOError):
            os.open(held, os.O_WRONLY | os.O_NONBLOCK)
        assert guard_of_files(places[:1]) == "none"
    finally:
        os.close(fd)

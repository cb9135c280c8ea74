"""A ruleset denies all and allows what was said; in a process of its own, for there is no way back."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from imgkit.linux import landlock
from tests.conftest import ROOT, need

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import errno, os, sys
from imgkit.linux import landlock, prctl
allowed, folder, other = sys.argv[1:]
prctl.set_no_new_privs()
rules = landlock.create_ruleset(min(landlock.abi_version(), int(os.environ["ABI"])))
landlock.allow_beneath(rules, allowed, landlock.READ_FILE)
landlock.allow_beneath(rules, folder, landlock.READ_FILE | landlock.READ_DIR)
landlock.restrict_self(rules)
os.close(rules)
for act in (lambda: os.open(allowed, os.O_RDONLY), lambda: os.listdir(folder), lambda: os.open(folder + "/in", os.O_RDONLY),
            lambda: os.open(other, os.O_RDONLY), lambda: os.open(allowed, os.O_WRONLY), lambda: os.listdir("/")):
    try:
        act()
        print("done", end=" ")
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
"""


def abi() -> int:
    try:
        return landlock.abi_version()
    except OSError as error:
        need(False, f"no landlock: {error}")
        raise


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7])
def test_each_abi_denies_all_but_what_is_allowed(tmp_path: Path, version: int) -> None:
    if version > abi():
        pytest.skip("newer than this kernel")
    (tmp_path / "folder").mkdir()
    for name in ("allowed", "other", "folder/in"):
        (tmp_path / name).write_text(name)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(tmp_path / name for name in ("allowed", "folder", "other"))],
        cwd=ROOT, env={"ABI": str(version)}, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["done", "done", "done", "EACCES", "EACCES", "EACCES"]


def test_a_right_that_does_not_fit_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    rules = landlock.create_ruleset(abi())
    with open(rules, "rb"), pytest.raises(OSError, match="Invalid argument") as caught:
        landlock.allow_beneath(rules, str(tmp_path / "file"), landlock.READ_DIR)
    assert caught.value.errno == errno.EINVAL


def test_what_is_not_there(tmp_path: Path) -> None:
    rules = landlock.create_ruleset(abi())
    with open(rules, "rb"), pytest.raises(FileNotFoundError):
        landlock.allow_beneath(rules, str(tmp_path / "absent"), landlock.READ_FILE)


def test_an_abi_that_the_kernel_lacks() -> None:
    assert abi() >= 1
    with pytest.raises(OSError, match="landlock_create_ruleset"):
        landlock._checked(landlock._libc.syscall(444, b"\xff" * 64, 64, 0), "landlock_create_ruleset")

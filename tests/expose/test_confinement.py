"""What the process that serves cannot do: asked from outside of a real one, and from inside of one confined the same way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from imgkit.expose import confine, expose_detached
from imgkit.linux import landlock
from tests.conftest import ROOT, need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.expose.conftest import MakeSplit

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]

# The same steps as imgkit.expose.serving, then one attempt at everything that must fail.
INSIDE = """
import errno, json, os, resource, socket, sys
from imgkit.expose import confine
wanted, other = sys.argv[1:]
steps = {}

def attempt(name, act):
    try:
        act()
        steps[name] = "done"
    except OSError as error:
        steps[name] = errno.errorcode[error.errno]

confine.limit_resources()
steps["landlock"] = confine.deny_all_but([wanted], opening=True)
attempt("code while opening", lambda: os.close(os.open(os.__file__, os.O_RDONLY)))
attempt("list while opening", lambda: os.listdir(os.path.dirname(wanted)))
attempt("other while opening", lambda: os.open(other, os.O_RDONLY))
confine.deny_all_but([wanted], opening=False)
confine.drop_privileges(1)
attempt("wanted", lambda: os.open(wanted, os.O_RDONLY))
attempt("write wanted", lambda: os.open(wanted, os.O_RDWR))
attempt("other", lambda: os.open(other, os.O_RDONLY))
attempt("passwd", lambda: os.open("/etc/passwd", os.O_RDONLY))
attempt("environ", lambda: os.open("/proc/self/environ", os.O_RDONLY))
attempt("list", lambda: os.listdir("/"))
attempt("create", lambda: os.open("/tmp/imgkit-created", os.O_CREAT | os.O_WRONLY))
attempt("mkdir", lambda: os.mkdir("/tmp/imgkit-made"))
attempt("unlink", lambda: os.unlink(wanted))
attempt("chmod", lambda: os.chmod(wanted, 0o600))
attempt("root", lambda: os.setuid(0))
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("mount", lambda: os.chroot("/"))
attempt("connect", lambda: socket.socket().connect((b"127.0.0.1", 9)))
attempt("listen", lambda: socket.socket().bind((b"127.0.0.1", 1234)))
attempt("kill parent", lambda: os.kill(os.getppid(), 0))
steps["limits"] = {name: resource.getrlimit(getattr(resource, name))[1]
                   for name in ("RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_MEMLOCK")}
try:
    bytearray(confine.MEMORY_LIMIT)
    steps["memory"] = "done"
except MemoryError:
    steps["memory"] = "MemoryError"
steps["status"] = os.geteuid(), os.getgroups()
json.dump(steps, sys.stdout)
"""


@pytest.fixture
def inside() -> Iterator[dict[str, Any]]:
    """What became of each attempt; in a folder that everybody may enter, so that landlock alone denies."""
    with tempfile.TemporaryDirectory(prefix="imgkit-confined-", dir="/var/tmp") as folder:
        place = Path(folder)
        place.chmod(0o755)
        for name in ("wanted", "other"):
            (place / name).write_text(name)
            (place / name).chmod(0o644)
        yield told_by(place)


def told_by(place: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, place / "wanted", place / "other"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_only_the_files_of_the_image_can_be_read(inside: dict[str, Any]) -> None:
    need(inside["landlock"], "this kernel has no landlock")
    allowed = ("code while opening", "list while opening", "wanted")
    assert {inside[name] for name in allowed} == {"done"}
    denied = (
        "other while opening",
        "write wanted",
        "other",
        "passwd",
        "environ",
        "list",
        "create",
        "mkdir",
        "unlink",
    )
    assert {name: inside[name] for name in (*denied, "exec")} == dict.fromkeys((*denied, "exec"), "EACCES")


def test_no_right_of_root_is_left(inside: dict[str, Any]) -> None:
    for name in ("chmod", "root", "mount", "kill parent"):
        assert inside[name] == "EPERM", name
    assert inside["status"] == [65534, []]


def test_no_network(inside: dict[str, Any]) -> None:
    need(landlock.abi_version() >= 4, "this kernel's landlock knows no network")
    assert (inside["connect"], inside["listen"]) == ("EACCES", "EACCES")


def test_limits(inside: dict[str, Any]) -> None:
    limits = inside["limits"]
    assert limits.pop("RLIMIT_DATA") <= confine.MEMORY_LIMIT
    assert set(limits.values()) == {0}
    assert inside["memory"] == "MemoryError"


def test_a_real_one_is_confined_so(make_split: MakeSplit) -> None:
    made = make_split(1 << 18)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-confined") as exposure:
        folder = Path(f"/proc/{exposure.facts.pid}")
        for task in (folder / "task").iterdir():
            status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
            assert status["NoNewPrivs"] == "1"
            assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
            assert status["Uid"].split() == ["65534"] * 4
            assert status["Groups"].strip() == ""
        limits = (folder / "limits").read_text()
        assert "Max core file size        0                    0" in limits
        assert "Max file size             0                    0" in limits
        assert str(confine.MEMORY_LIMIT) in limits
        assert (folder / "environ").stat().st_uid == 0  # not dumpable: others of its user cannot look into it


def test_a_kernel_without_landlock_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none() -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(landlock, "abi_version", none)
    assert confine.deny_all_but([str(tmp_path / "file")], opening=True) is False


def test_any_other_failure_of_landlock_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(landlock, "abi_version", lambda: 1)
    with pytest.raises(FileNotFoundError):
        confine.deny_all_but([str(tmp_path / "absent")], opening=True)

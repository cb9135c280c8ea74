"""expose_at and unexpose, as root and as an ordinary user."""

from __future__ import annotations

import errno
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from imgkit.errors import Busy, MountError
from imgkit.expose import expose_at, list_exposures, stop, unexpose
from imgkit.expose.start import Server
from imgkit.linux import process
from imgkit.linux.mount import read_mountinfo
from tests.conftest import ROOT, need
from tests.expose.conftest import bind_loop, gone, read_all
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.expose.conftest import MakeSplit, SplitImage

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; nothing is mounted there at the end, however the test ended."""
    directory = tmp_path / "place"
    directory.mkdir()
    yield directory
    while any(info.target == str(directory) for info in read_mountinfo()):
        unexpose(str(directory))


def exposed(made: SplitImage, place: Path, name: str = "disk.dd") -> Path:
    with open_image(made.first) as image:
        expose_at(image, str(place), name=name)
    return place / name


def test_the_file_is_there_until_it_is_taken_down(make_split: MakeSplit, place: Path) -> None:
    made = make_split((3 << 20) + 5)
    with open_image(made.first) as image:
        facts = expose_at(image, str(place), name="disk.dd")
    assert os.listdir(place) == ["disk.dd"]
    assert (place / "disk.dd").read_bytes() == made.media
    found = (place / "disk.dd").stat()
    assert (found.st_size, found.st_ino, found.st_dev) == (len(made.media), facts.ino, facts.dev)
    assert (oct(found.st_mode), found.st_uid, found.st_mtime) == ("0o100400", 0, 1)
    assert (facts.directory, facts.guard, facts.path) == (str(place), "lease", str(made.first))
    assert facts in list_exposures()
    (info,) = [info for info in read_mountinfo() if info.target == str(place)]
    assert info.filesystem == "fuse.imgkit"
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(info.options)
    assert info.propagation == ()
    assert shutil.disk_usage(place).free == 0
    unexpose(str(place))
    assert gone(facts.pid)
    assert os.listdir(place) == []


def test_it_is_private_below_a_shared_mount(make_split: MakeSplit, tmp_path: Path) -> None:
    """As /home and /mnt are where systemd runs: other namespaces' copies go with ours."""
    shared = tmp_path / "shared"
    (shared / "place").mkdir(parents=True)
    made = make_split(1 << 16)
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True)
        assert exposed(made, shared / "place").read_bytes() == made.media
        (info,) = [info for info in read_mountinfo() if info.target == str(shared / "place")]
        assert info.propagation == ()
        unexpose(str(shared / "place"))
    finally:
        subprocess.run(["umount", "-R", shared], check=True)


def test_a_failure_on_the_way_leaves_no_mount(
    make_split: MakeSplit, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr("imgkit.linux.mount.make_private", refuse)
    made = make_split(1 << 16)
    with open_image(made.first) as image, pytest.raises(MountError, match="no"):
        expose_at(image, str(place), name="disk.dd")
    assert not any(info.target == str(place) for info in read_mountinfo())


def test_a_fault_after_the_mount_leaves_no_mount(
    make_split: MakeSplit, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_server: object, _dev: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("imgkit.expose.start.Server.seen", refuse)
    made = make_split(1 << 16)
    with open_image(made.first) as image, pytest.raises(KeyboardInterrupt):
        expose_at(image, str(place), name="disk.dd")
    assert not any(info.target == str(place) for info in read_mountinfo())


WRITES: list[Callable[[Path], object]] = [
    lambda file: os.open(file, os.O_RDWR),
    lambda file: os.open(file, os.O_WRONLY | os.O_TRUNC),
    lambda file: os.open(file, os.O_RDONLY | os.O_TRUNC),
    lambda file: os.open(file.parent / "new", os.O_CREAT | os.O_WRONLY),
    lambda file: os.truncate(file, 0),
    lambda file: file.unlink(),
    lambda file: file.rename(file.parent / "other"),
    lambda file: os.link(file, file.parent / "other"),
    lambda file: (file.parent / "folder").mkdir(),
    lambda file: file.chmod(0o777),
    lambda file: os.chown(file, 1, 1),
    os.utime,
    lambda file: os.setxattr(file, "user.a", b"b"),
    lambda file: os.mkfifo(file.parent / "pipe"),
    lambda file: (file.parent / "link").symlink_to("disk.dd"),
]


def test_nothing_can_be_written(make_split: MakeSplit, place: Path) -> None:
    made = make_split(1 << 18)
    file = exposed(made, place)
    for write in WRITES:
        with pytest.raises(OSError, match="Read-only file system"):
            write(file)
    assert file.read_bytes() == made.media


def test_it_is_not_taken_down_under_a_reader(make_split: MakeSplit, place: Path) -> None:
    made = make_split(1 << 18)
    with exposed(made, place).open("rb") as file:
        with pytest.raises(Busy, match=rf"pid {os.getpid()} .* has a file of it open"):
            unexpose(str(place))
        assert file.read() == made.media
    unexpose(str(place))


def test_it_is_not_taken_down_under_a_loop_device(make_split: MakeSplit, place: Path) -> None:
    made = make_split(1 << 18)
    with exposed(made, place).open("rb") as file:
        node, device = bind_loop(file.fileno())
    try:
        with pytest.raises(Busy, match=device):
            unexpose(str(place))
        assert read_all(node, len(made.media)) == made.media
    finally:
        os.close(node)


@pytest.mark.parametrize("number", [9, 19])
def test_what_died_or_hangs_is_taken_down(make_split: MakeSplit, place: Path, number: int) -> None:
    made = make_split(1 << 18)
    with open_image(made.first) as image:
        # A name of its own: while another of the same name comes up, a dead one is not told from it.
        facts = expose_at(image, str(place), name=f"died-{os.getpid()}.dd")
    os.kill(facts.pid, number)
    if number == 9:
        assert gone(facts.pid)
        with pytest.raises(OSError, match="connect") as caught:
            os.listdir(place)
        assert caught.value.errno in {errno.ENOTCONN, errno.ECONNABORTED}  # the second for the first who asks
        (dead,) = [item for item in list_exposures() if item.directory == str(place)]
        assert (dead.pid, dead.name, dead.notices) == (0, facts.name, ("the process that served it is gone",))
        stop(dead)
    unexpose(str(place), timeout=0.2)
    assert gone(facts.pid)
    assert os.listdir(place) == []


def test_one_that_is_stopped_is_not_waited_for(make_split: MakeSplit, place: Path) -> None:
    """It cannot notice that its mount has gone."""
    made = make_split(1 << 16)
    with open_image(made.first) as image:
        facts = expose_at(image, str(place), name="disk.dd")
    os.kill(facts.pid, signal.SIGSTOP)
    wait_until(lambda: not process.is_running(facts.pid))
    unexpose(str(place), timeout=3600)
    assert gone(facts.pid)


def test_what_is_not_ours_is_left_alone(place: Path, tmp_path: Path) -> None:
    with pytest.raises(MountError, match="imgkit has exposed no image there"):
        unexpose(str(place))
    with pytest.raises(MountError) as caught:
        unexpose("/proc")
    assert caught.value.hint is not None
    assert "proc" in caught.value.hint
    with pytest.raises(MountError):
        unexpose(str(tmp_path / "absent"))


def test_directories_that_do_not_do(make_split: MakeSplit, place: Path, tmp_path: Path) -> None:
    made = make_split(1 << 16)
    (tmp_path / "link").symlink_to(place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with open_image(made.first) as image:
        for name in ("link", "full", "absent", "disk.001"):
            with pytest.raises(MountError):
                expose_at(image, str(tmp_path / name), name="disk.dd")
        expose_at(image, str(place), name="disk.dd")
        with pytest.raises(MountError, match="mounted there already"):
            expose_at(image, str(place), name="disk.dd")


USER_PROGRAM = """
import json, os, sys
from dataclasses import asdict
from imgkit.containers import open_image
from imgkit.errors import ImgkitError
from imgkit.expose import expose_at, list_exposures, unexpose
image, place = sys.argv[1:]
with open_image(image) as opened:
    facts = expose_at(opened, place, name="disk.dd")
listed = facts in list_exposures()
with open(place + "/disk.dd", "rb") as file:
    media = file.read()
    try:
        unexpose(place)
        busy = None
    except ImgkitError as error:
        busy = error.kind
status = open(f"/proc/{facts.pid}/status").read()
unexpose(place)
left = [item.name for item in list_exposures() if item.directory == place]
json.dump({"facts": asdict(facts), "listed": listed, "busy": busy, "status": status, "left": left,
           "media": media.hex(), "names": os.listdir(place)}, sys.stdout)
"""


@pytest.fixture
def home() -> Iterator[tuple[Path, int, int]]:
    """A folder of an ordinary user (one that the host has: fusermount3 wants a name)."""
    need(shutil.which("fusermount3") is not None, "needs fusermount3")
    entry = pwd.getpwnam("games")
    with tempfile.TemporaryDirectory(prefix="imgkit-expose-", dir="/var/tmp") as folder:
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield Path(folder), entry.pw_uid, entry.pw_gid
        for info in read_mountinfo():
            if info.target.startswith(folder):
                unexpose(info.target)


def as_user(uid: int, gid: int, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Under the system's Python: the one of the tests may lie where only root looks."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    env = {"PYTHONPATH": f"{ROOT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    return subprocess.run(
        ["/usr/bin/python3", "-c", program, *words],
        env=env, user=uid, group=gid, extra_groups=[], cwd="/", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_without_root(make_split: MakeSplit, home: tuple[Path, int, int]) -> None:
    folder, uid, gid = home
    place = folder / "place"
    place.mkdir()
    made = make_split((1 << 20) + 7, folder=folder, scratch=True)
    for path in (place, *made.files):
        os.chown(path, uid, gid)
    done = as_user(uid, gid, USER_PROGRAM, str(made.first), str(place))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert bytes.fromhex(told["media"]) == made.media
    assert (told["listed"], told["busy"], told["left"], told["names"]) == (True, "attach.busy", [], [])
    assert (told["facts"]["guard"], told["facts"]["directory"]) == ("lease", str(place))
    assert "NoNewPrivs:\t1" in told["status"]
    assert gone(told["facts"]["pid"])
    assert {path.stat().st_atime for path in made.files} == {1.0}


def test_another_users_process_that_calls_itself_so_is_not_believed(
    make_split: MakeSplit, home: tuple[Path, int, int]
) -> None:
    """Anybody may write anything into their own command line: neither listed, nor waited for, nor killed."""
    folder, uid, gid = home
    place = folder / "place"
    place.mkdir()
    made = make_split(1 << 16, folder=folder, scratch=True)
    for path in (place, *made.files):
        os.chown(path, uid, gid)
    program = USER_PROGRAM.partition("listed =")[0] + "print(facts.pid, facts.dev)"
    done = as_user(uid, gid, program, str(made.first), str(place))
    pid, dev = map(int, done.stdout.split())
    words = ["x/imgkit/expose/child.py", "imgkit-exposure", "disk.dd", str(made.first), "1", "1"]
    words.append(f"state:dev={dev:x},guard=lease".ljust(48, "."))
    other: dict[str, Any] = {"user": uid + 1, "group": gid, "extra_groups": []}
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", "import time; time.sleep(600)", *words], **other
    ) as fake:
        wait_until(lambda: b"sleep" in Path(f"/proc/{fake.pid}/cmdline").read_bytes())
        listed = [item.pid for item in list_exposures() if item.directory == str(place)]
        unexpose(str(place), timeout=3600)
        fake.kill()
    assert listed == [pid]
    assert fake.returncode == -signal.SIGKILL
    assert gone(pid)


def test_without_root_and_on_anothers_directory(make_split: MakeSplit, home: tuple[Path, int, int]) -> None:
    folder, uid, gid = home
    place = folder / "place"
    place.mkdir(mode=0o755)
    made = make_split(1 << 16, folder=folder, scratch=True)
    done = as_user(uid, gid, USER_PROGRAM, str(made.first), str(place))
    assert done.returncode != 0
    assert "MountError" in done.stderr or "NotPermitted" in done.stderr
    assert [item for item in list_exposures() if item.path == str(made.first)] == []


def test_another_users_files_are_served_unguarded(make_split: MakeSplit, home: tuple[Path, int, int]) -> None:
    """A lease needs the owner or root: without it, it is said that nobody is held off."""
    folder, uid, gid = home
    place = folder / "place"
    place.mkdir()
    os.chown(place, uid, gid)
    made = make_split(1 << 16, folder=folder, scratch=True)
    done = as_user(uid, gid, USER_PROGRAM, str(made.first), str(place))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["facts"]
    assert facts["guard"] == "none"
    assert "writers are not held back" in facts["notices"][0]


@pytest.mark.alone  # its mount namespace holds what other tests have mounted
def test_root_of_a_user_namespace(make_split: MakeSplit, place: Path) -> None:
    """Where root is the only user there is: served without root's rights, and it is said."""
    need(subprocess.run(["unshare", "-Urm", "true"], check=False).returncode == 0, "needs user namespaces")
    made = make_split(1 << 18)
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", USER_PROGRAM, made.first, place],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert bytes.fromhex(told["media"]) == made.media
    assert "CapEff:\t0000000000000000" in told["status"]
    assert any("stays root, without root's rights" in notice for notice in told["facts"]["notices"])
    assert gone(told["facts"]["pid"])


def test_a_mount_that_comes_up_is_not_dead(
    make_split: MakeSplit, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the mount and the note in the command line somebody lists exposures."""
    seen, listed = Server.seen, []

    def look(server: Server, dev: int) -> None:
        listed.extend([item for item in list_exposures() if item.name == "coming-up"])
        seen(server, dev)

    monkeypatch.setattr(Server, "seen", look)
    made = make_split(1 << 16)
    with open_image(made.first) as image:
        facts = expose_at(image, str(place), name="coming-up")
    assert [(item.pid, item.dev, item.notices) for item in listed] == [(facts.pid, 0, ())]

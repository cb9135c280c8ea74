"""The served file and loop devices over it, on the real kernel: byte for byte, errors as errors, and an end to everything."""

from __future__ import annotations

import errno
import os
import random
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgkit.containers import open_image
from imgkit.errors import Busy, HostError, ImageError, ImgkitError, UsageError
from imgkit.expose import expose_detached, list_exposures, stop
from imgkit.expose.start import Server
from imgkit.linux import loop
from imgkit.linux.files import Identity
from tests.conftest import ROOT
from tests.expose.conftest import bind_loop, gone, read_all

if TYPE_CHECKING:
    from tests.expose.conftest import MakeSplit

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live")]


def test_every_byte_and_every_fact(make_split: MakeSplit) -> None:
    made = make_split((5 << 20) + 1234)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-facts") as exposure:
        facts = exposure.facts
        found = os.fstat(exposure.fileno())
        assert (found.st_dev, found.st_ino, found.st_size) == (facts.dev, facts.ino, len(made.media))
        assert (facts.name, facts.path) == ("imgkit-test-facts", str(made.first))
        assert (facts.guard, facts.directory, facts.notices) == ("lease", None, ())
        assert facts.ino < 1 << 53
        assert read_all(exposure.fileno(), facts.size + 1) == made.media
        assert [item for item in list_exposures() if item.pid == facts.pid] == [facts]
        assert os.get_inheritable(exposure.fileno()) is False
    assert gone(facts.pid)


@pytest.mark.parametrize("direct", [True, False])
def test_a_loop_device_reads_the_media(make_split: MakeSplit, *, direct: bool) -> None:
    made = make_split(9 << 20, files=4)
    with open_image(made.first) as image:
        exposure = expose_detached(image, name="imgkit-test-loop")
    node, device = bind_loop(exposure.fileno(), direct=direct)
    facts = exposure.facts
    exposure.close()
    try:
        info = loop.loop_get_status64(node)
        assert (info.lo_device, info.lo_inode) == (facts.dev, facts.ino)
        assert Path(f"/sys/block/{device[5:]}/loop/backing_file").read_text().strip() == "/imgkit-test-loop"
        assert Path(f"/sys/block/{device[5:]}/loop/dio").read_text().strip() == str(int(direct))
        assert read_all(node, len(made.media)) == made.media
    finally:
        os.close(node)
    assert gone(facts.pid)


def test_eight_readers_at_random_places(make_split: MakeSplit) -> None:
    made = make_split((6 << 20) + 77, files=5)
    wrong: list[tuple[int, int]] = []

    def reader(fd: int, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            offset, length = (
                chance.randrange(len(made.media)),
                chance.choice((1, 512, 4097, 1 << 17, 1 << 20)),
            )
            if os.pread(fd, length, offset) != made.media[offset : offset + length]:
                wrong.append((offset, length))

    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-eight") as exposure:
        threads = [threading.Thread(target=reader, args=(exposure.fileno(), seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_what_cannot_be_read_is_an_error_and_never_zeros(make_split: MakeSplit) -> None:
    """A file of the set that somebody cuts short while it is exposed (without a lease nothing keeps them from it)."""
    made = make_split(6 << 20, scratch=True)
    with open_image(made.first) as image:
        exposure = expose_detached(image, name="imgkit-test-cut", take_guard=lambda _fd, _path: "none")
    assert exposure.facts.guard == "none"
    assert "verify afterwards" in exposure.facts.notices[0]
    with exposure:
        os.truncate(made.files[1], 1 << 20)
        node, _ = bind_loop(exposure.fileno())
        try:
            for offset, length in ((3 << 20, 4096), ((4 << 20) - 512, 512), ((2 << 20) + 4096, 3 << 20)):
                with pytest.raises(OSError, match="Input/output error") as caught:
                    read_exactly(node, offset, length)
                assert caught.value.errno == errno.EIO
            for offset, length in ((0, 2 << 20), (2 << 20, 1 << 20), (4 << 20, 2 << 20)):
                assert read_exactly(node, offset, length) == made.media[offset : offset + length]
        finally:
            os.close(node)


def read_exactly(fd: int, offset: int, length: int) -> bytes:
    found = b""
    while len(found) < length:
        found += os.pread(fd, length - len(found), offset + len(found))
    return found


def test_nothing_can_be_written(make_split: MakeSplit) -> None:
    made = make_split(1 << 20)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-write") as exposure:
        node, device = bind_loop(exposure.fileno())
        try:
            for path in (device, f"/proc/self/fd/{exposure.fileno()}"):
                with pytest.raises(
                    OSError, match=r"Operation not permitted|Read-only file system|Permission denied"
                ):
                    write_to(path)
        finally:
            os.close(node)


def write_to(path: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(fd, bytes(512), 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def test_writers_are_held_off_every_file(make_split: MakeSplit) -> None:
    made = make_split(1 << 20)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-lease"):
        for path in made.files:
            with pytest.raises(BlockingIOError):
                os.open(path, os.O_WRONLY | os.O_NONBLOCK)


def test_a_writer_is_a_reason_to_refuse(make_split: MakeSplit) -> None:
    made = make_split(1 << 20)
    with (
        open_image(made.first) as image,
        open(made.files[1], "r+b"),
        pytest.raises(Busy, match=str(made.files[1])),
    ):
        expose_detached(image, name="imgkit-test-busy")


def test_another_file_at_the_same_name_is_refused(make_split: MakeSplit, tmp_path: Path) -> None:
    made = make_split(3 << 18, scratch=True)
    with open_image(made.first) as image:
        (tmp_path / "spare").write_bytes(made.files[1].read_bytes())
        (tmp_path / "spare").rename(made.files[1])
        with pytest.raises(ImageError, match=r"disk\.002 has changed or been replaced"):
            expose_detached(image, name="imgkit-test-replaced")


def test_what_the_other_process_cannot_open_is_said_here(make_split: MakeSplit) -> None:
    made = make_split(3 << 18, scratch=True)
    with open_image(made.first) as image:
        made.files[1].unlink()
        made.files[1].mkdir()
        with pytest.raises((ImageError, HostError), match=r"disk\.00"):
            expose_detached(image, name="imgkit-test-gone")


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"sector_size": 3}, UsageError, "a sector size of 3 bytes cannot be meant"),
        ({"sector_size": []}, HostError, "TypeError"),
        ({"modules": []}, HostError, "ModuleNotFoundError: No module named 'imgkit'"),
        ({"files": ["/absent"]}, HostError, "cannot confine"),
    ],
)
def test_what_goes_wrong_over_there_is_said_here(
    make_split: MakeSplit,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, object],
    kind: type[ImgkitError],
    said: str,
) -> None:
    """As its own error, or in the words that the process had for it: it has no other place to say them."""
    made, setup = make_split(1 << 16), Server._setup
    monkeypatch.setattr(Server, "_setup", lambda self: setup(self) | asked)
    with open_image(made.first) as image, pytest.raises(kind, match=said):
        expose_detached(image, name="imgkit-test-said")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256])
def test_no_file_has_such_a_name(make_split: MakeSplit, name: str) -> None:
    made = make_split(1 << 16)
    with open_image(made.first) as image, pytest.raises(UsageError):
        expose_detached(image, name=name)


def test_a_name_of_odd_bytes(make_split: MakeSplit, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"odd \xff,\\ \n:")
    folder.mkdir()
    made = make_split(1 << 16, folder=folder)
    name = os.fsdecode(b"imgkit \xfe,\\:\n1")
    with open_image(made.first) as image, expose_detached(image, name=name) as exposure:
        assert read_all(exposure.fileno(), len(made.media)) == made.media
        (found,) = [item for item in list_exposures() if item.pid == exposure.facts.pid]
        assert (found.name, found.path) == (name, str(made.first))


def test_ten_at_once(make_split: MakeSplit) -> None:
    sets = [make_split((1 << 20) + number, name=f"set{number}") for number in range(10)]
    images = [open_image(made.first) for made in sets]
    found: dict[int, bytes] = {}

    def expose(number: int) -> None:
        with expose_detached(images[number], name=f"imgkit-test-{number}") as exposure:
            found[number] = read_all(exposure.fileno(), exposure.facts.size)

    threads = [threading.Thread(target=expose, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for image in images:
        image.close()
    assert [found[number] for number in range(10)] == [made.media for made in sets]


def test_more_files_than_are_kept_open(make_split: MakeSplit, tmp_path: Path) -> None:
    """Root exposes another user's 200 files: the process is nobody by then and opens them again, access times untouched."""
    tmp_path.chmod(0o700)
    made = make_split(200 * 4096, files=200, scratch=True)
    for path in made.files:
        path.chmod(0o600)
        os.chown(path, 54321, 54321)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-many") as exposure:
        assert exposure.facts.guard == "lease"
        for _ in range(2):
            for number in (0, 199, 100, 5):
                os.posix_fadvise(exposure.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                assert os.pread(exposure.fileno(), 4096, number * 4096) == made.media[number * 4096 :][:4096]
        assert read_all(exposure.fileno(), exposure.facts.size) == made.media
        status = Path(f"/proc/{exposure.facts.pid}/status").read_text()
        assert "CapEff:\t000000000000000c" in status  # CAP_DAC_READ_SEARCH and CAP_FOWNER
        assert "Uid:\t65534\t65534\t65534\t65534" in status
    for path in made.files:
        assert path.stat().st_atime == 1


def test_with_another_users_rights(make_split: MakeSplit, tmp_path: Path) -> None:
    """Where a file server refuses root: everything is opened, and served, as that user."""
    folder = Path("/var/tmp") / f"imgkit-test-{os.getpid()}-{tmp_path.name}"
    folder.mkdir(mode=0o700)
    try:
        made = make_split(1 << 20, folder=folder, scratch=True)
        for path in (*made.files, folder):
            os.chown(path, 54321, 54321)
        with open_image(made.first) as image:
            exposure = expose_detached(
                image, name="imgkit-test-user", identity=Identity(54321, 54321, (54321,))
            )
        with exposure:
            assert read_all(exposure.fileno(), exposure.facts.size) == made.media
            status = Path(f"/proc/{exposure.facts.pid}/status").read_text()
        assert "Uid:\t54321\t54321\t54321\t54321" in status
        assert "CapEff:\t0000000000000000" in status
    finally:
        for path in folder.iterdir():
            assert path.stat().st_atime == 1
            path.unlink()
        folder.rmdir()


@pytest.mark.parametrize("number", [15, 9])
def test_a_killed_process_means_errors_at_once(make_split: MakeSplit, number: int) -> None:
    made = make_split(8 << 20)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-killed") as exposure:
        node, _ = bind_loop(exposure.fileno())
        try:
            assert os.pread(node, 4096, 0) == made.media[:4096]
            os.kill(exposure.facts.pid, number)
            assert gone(exposure.facts.pid)
            with pytest.raises(OSError, match="Input/output error"):
                os.pread(node, 4096, 4 << 20)
            with pytest.raises(OSError, match=r"not connected|Input/output error|aborted"):
                os.pread(exposure.fileno(), 4096, 6 << 20)
        finally:
            os.close(node)


def test_stop_ends_it_even_if_it_is_stopped(make_split: MakeSplit) -> None:
    made = make_split(1 << 20)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-stop") as exposure:
        os.kill(exposure.facts.pid, 19)
        stop(exposure.facts)
        assert gone(exposure.facts.pid)
        stop(exposure.facts)


def test_the_terminals_signals_do_not_reach_it(make_split: MakeSplit) -> None:
    made = make_split(1 << 20)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-tty") as exposure:
        pid = exposure.facts.pid
        for number in (1, 2):
            os.kill(pid, number)
        assert os.getsid(pid) == pid
        assert read_all(exposure.fileno(), exposure.facts.size) == made.media


def test_it_keeps_nothing_of_the_command(
    make_split: MakeSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pipe that a shell waits for, no descriptor that was left open, no variable, no working directory."""
    monkeypatch.setenv("IMGKIT_TEST_SECRET", "hunter2")
    monkeypatch.chdir(tmp_path)
    made = make_split(1 << 20)
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    with open_image(made.first) as image, expose_detached(image, name="imgkit-test-clean") as exposure:
        os.close(writing)
        assert os.read(reading, 1) == b""  # nobody else has the other end
        os.close(reading)
        folder = Path(f"/proc/{exposure.facts.pid}")
        assert b"hunter2" not in (folder / "environ").read_bytes()
        assert b"hunter2" not in (folder / "cmdline").read_bytes()
        assert os.readlink(folder / "cwd") == "/"
        places = {os.readlink(folder / "fd" / name) for name in os.listdir(folder / "fd")}
        places = {place for place in places if not place.startswith("socket:")}  # the system's log
        assert places == {"/dev/null", "/dev/fuse", *map(str, made.files)}


def test_a_command_substitution_does_not_wait_for_it(make_split: MakeSplit) -> None:
    """`$(imgkit attach …)` returns although the device, and so the process, stays."""
    made = make_split(1 << 20)
    program = (
        "import sys; from imgkit.containers import open_image; from imgkit.expose import expose_detached\n"
        "from tests.expose.conftest import bind_loop\n"
        "import os\n"
        "image = open_image(sys.argv[1]); e = expose_detached(image, name='imgkit-test-shell')\n"
        "node, device = bind_loop(e.fileno()); os.set_inheritable(node, True)\n"
        "print(e.facts.pid, flush=True)\n"
        "os.execv('/bin/sh', ['/bin/sh', '-c', f'sleep 1 {node}<&{node} >/dev/null 2>&1 & exit'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(made.first)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    pid = int(done.stdout)
    assert Path(f"/proc/{pid}").exists()
    assert gone(pid)


def test_more_files_than_descriptors(make_split: MakeSplit) -> None:
    """No lease where not every file can be held open; the media is served all the same, and it is said."""
    made = make_split(150 * 4096, files=150)
    program = (
        "import os, sys, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120))\n"
        "from imgkit.containers import open_image; from imgkit.expose import expose_detached\n"
        "with open_image(sys.argv[1]) as image, expose_detached(image, name='imgkit-test-few') as e:\n"
        "    sys.stdout.buffer.write(os.pread(e.fileno(), 1 << 20, 0))\n"
        "    print(e.facts.guard, e.facts.notices, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(made.first)],
        cwd=ROOT,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == made.media, done.stderr
    assert b"none" in done.stderr
    assert b"more files than may be open" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 120


def test_few_files_and_few_descriptors(make_split: MakeSplit) -> None:
    """Leases are taken as long as there is room for them."""
    made = make_split(20 * 4096, files=20)
    program = (
        "import os, sys, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))\n"
        "from imgkit.containers import open_image; from imgkit.expose import expose_detached\n"
        "with open_image(sys.argv[1]) as image, expose_detached(image, name='imgkit-test-room') as e:\n"
        "    sys.stdout.buffer.write(os.pread(e.fileno(), 1 << 20, 0))\n"
        "    print(e.facts.guard, e.facts.notices, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program, str(made.first)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert done.stdout == made.media, done.stderr
    assert done.stderr == b"lease ()\n"

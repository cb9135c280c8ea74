"""What every test shares: the session leaves the host's loop devices and mounts as it found them."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
CORPUS = ROOT.parent / "shared" / "corpus"

# The same examples in each run and on each worker, however long they take where the host is busy.
settings.register_profile(
    "imgkit", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("imgkit")


def bound_loop_devices() -> dict[str, str]:
    """Device name -> backing file, of every bound loop device."""
    found = {}
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found[path.parts[3]] = os.fsdecode(path.read_bytes())
        except OSError:
            continue  # released while we looked
    return found


def mounted() -> set[str]:
    """The mount points of this namespace."""
    return {os.fsdecode(line.split()[4]) for line in Path("/proc/self/mountinfo").read_bytes().splitlines()}


def exposures() -> dict[int, str]:
    """Process -> image, of every process that serves an image for imgkit."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # ended while we looked
        if b"imgkit-exposure" in words[:8]:
            found[int(path.parts[2])] = os.fsdecode(words[words.index(b"imgkit-exposure") + 2])
    return found


@pytest.fixture(scope="session", autouse=True)
def host_left_as_found() -> Iterator[None]:
    """No loop device, mount or exposure is left. Under xdist only the controller's view counts: see pytest_sessionfinish."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        yield
        return
    loops, mounts, served = bound_loop_devices(), mounted(), exposures()
    yield
    assert bound_loop_devices() == loops
    assert mounted() == mounts
    assert exposures().keys() <= served.keys()


@pytest.fixture(autouse=True)
def signals_left_as_found() -> Iterator[None]:
    """No test leaves SIGINT or SIGTERM held: the next one's children would inherit that."""
    yield
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


def held_files() -> dict[tuple[int, int, int], str]:
    """Descriptor, device and inode -> path, of every regular file or block device this process holds."""
    found = {}
    for entry in os.scandir("/proc/self/fd"):
        try:
            target, about = os.readlink(entry.path), os.stat(entry.path)
        except OSError:
            continue  # the one that lists the folder
        if target.startswith("/") and not target.startswith(("/dev/null", "/proc/")):
            found[int(entry.name), about.st_dev, about.st_ino] = target
    return found


@pytest.fixture(autouse=True)
def files_left_as_found() -> Iterator[None]:
    """No test leaves evidence open, one that was refused neither."""
    before = held_files().keys()
    yield
    if held_files().keys() - before:
        gc.collect()  # what a test forgot in a cycle is not what the product forgot
    left = {key: path for key, path in held_files().items() if key not in before}
    for descriptor, _device, _inode in left:
        os.close(descriptor)  # this test is to blame, not the next ones
    assert not left


def _forget_the_caller() -> None:
    """What children inherit of whoever runs the tests: a script's background job ignores SIGINT; a case may be open."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)
    for name in ("IMGKIT_CASE", "IMGKIT_EXAMINER", "IMGKIT_SIGNER", "IMGKIT_DEBUG"):
        os.environ.pop(name, None)


def pytest_sessionstart(session: pytest.Session) -> None:
    """The controller of a parallel run remembers the host's state before any worker starts."""
    _forget_the_caller()
    if not hasattr(session.config, "workerinput"):
        session.config.stash[HOST] = (bound_loop_devices(), mounted(), exposures())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After all workers are done: what is bound or mounted now and was not before fails the run."""
    if HOST not in session.config.stash or not session.config.pluginmanager.hasplugin("dsession"):
        return
    loops, mounts, served = session.config.stash[HOST]
    left = [
        f"/dev/{name} ({file.strip()})" for name, file in bound_loop_devices().items() if name not in loops
    ]
    left += sorted(mounted() - mounts)
    left += [f"pid {pid} ({image})" for pid, image in exposures().items() if pid not in served]
    if left:
        sys.stderr.write("\nleft behind by the tests: " + ", ".join(left) + "\n")
        session.exitstatus = 1


HOST = pytest.StashKey[tuple[dict[str, str], set[str], dict[int, str]]]()


def need(possible: bool, reason: str) -> None:
    """Skip where the host cannot, but fail where CI is set: a live test that does not run shows nothing."""
    if possible:
        return
    if os.environ.get("CI"):
        pytest.fail(f"cannot run in CI: {reason}")
    pytest.skip(reason)


@pytest.fixture
def live() -> None:
    """Root and loop devices on a real kernel."""
    need(os.geteuid() == 0, "needs root")
    need(os.path.exists("/dev/loop-control"), "needs /dev/loop-control")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that others made, with independent ground truth: a copy of this worker's own, as access times are compared."""
    need(CORPUS.is_dir(), f"needs the corpus beside the checkout ({CORPUS})")
    copy = tmp_path_factory.mktemp("corpus") / "corpus"
    subprocess.run(
        ["cp", "-r", "--sparse=always", "--no-preserve=all", "--", CORPUS, copy], check=True, timeout=120
    )
    return copy

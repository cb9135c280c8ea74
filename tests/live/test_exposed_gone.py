"""How exposures in a directory end that imgkit did not take down: the next run says so, once, and never of one that is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import mounted
from tests.live.test_changes import BOOTED_BEFORE
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.bench import Bench

pytestmark = pytest.mark.live


@pytest.fixture
def case(bench: Bench) -> Path:
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    return case


@pytest.fixture
def place(bench: Bench) -> Iterator[Path]:
    """Where the images are exposed; whatever a failed test left there is taken away."""
    place = bench.base / "seen"
    yield place
    if str(place) in mounted():
        subprocess.run(["umount", "-l", place], check=True)


def exposed(bench: Bench, place: Path) -> tuple[Path, int]:
    """An image, and the line of its exposure."""
    image = bench.image()
    records = bench("expose", image, place, "--json").ended(0).json["records"]["seq"]
    return image, records[1] - 1


def gone(bench: Bench, case: Path) -> list[tuple[int, str]]:
    found: list[dict[str, Any]] = bench.of_type(case, "evidence.gone", "event")
    return [(record["data"]["exposed_line"], record["data"]["why"]) for record in found]


def taken_away(bench: Bench, place: Path) -> None:
    """By a stock tool; with its mount the process goes."""
    subprocess.run(["umount", place], check=True)
    wait_until(bench.is_clean)


def test_after_a_reboot(bench: Bench, case: Path, place: Path) -> None:
    image = bench.image()
    words = [sys.executable, "-c", BOOTED_BEFORE, "expose", str(image), str(place)]
    subprocess.run(words, env=bench.env, check=True, capture_output=True)
    taken_away(bench, place)
    assert "OPEN_ATTACHMENT" in bench.verified(case)
    bench("info", image).ended(0)
    (intent,) = bench.of_type(case, "evidence.exposed", "intent")
    assert gone(bench, case) == [(intent["seq"], "the host was started anew")]
    (event,) = bench.of_type(case, "evidence.gone", "event")
    assert (event["exhibit"], event["data"]["target"]) == ("EX1", str(place))
    assert "OPEN_ATTACHMENT" not in bench.verified(case)
    bench("info", image).ended(0)
    assert len(gone(bench, case)) == 1


def test_taken_away_by_others(bench: Bench, case: Path, place: Path) -> None:
    """By umount: of several runs that see it at once, one says it."""
    image, line = exposed(bench, place)
    taken_away(bench, place)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: bench("info", image), range(4)))
    assert [item.code for item in done] == [0] * 4
    why = "neither its mount nor the process that served it is there any more"
    assert gone(bench, case) == [(line, why)]
    assert "OPEN_ATTACHMENT" not in bench.verified(case)


def test_what_is_there_is_not_gone(bench: Bench, case: Path, place: Path) -> None:
    """Served, or only a mount whose process was killed: that is for unexpose, which records it."""
    image, line = exposed(bench, place)
    bench("info", image).ended(0)
    (pid,) = bench.exposures()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not bench.exposures())
    bench("info", image).ended(0)
    assert "OPEN_ATTACHMENT" in bench.verified(case)
    bench("unexpose", place).ended(0)
    bench("info", image).ended(0)
    assert gone(bench, case) == []
    assert bench.of_type(case, "evidence.unexposed")[0]["data"]["exposed_line"] == line
    assert "OPEN_ATTACHMENT" not in bench.verified(case)


def test_what_cannot_be_seen_is_not_gone(bench: Bench, case: Path, place: Path) -> None:
    """In a container: other numbers of processes, other mounts."""
    image, line = exposed(bench, place)
    words = [os.fsdecode(word) for word in bench.arguments(("info", image))]
    inside = ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "sh", "-c", 'umount "$0" && exec "$@"']
    subprocess.run([*inside, place, *words], env=bench.env, check=True, capture_output=True)
    assert str(place) in mounted()
    assert gone(bench, case) == []
    bench("unexpose", place).ended(0)
    assert bench.of_type(case, "evidence.unexposed")[0]["data"]["exposed_line"] == line


def test_a_killed_command_whose_exposure_was_seen(bench: Bench, case: Path, place: Path) -> None:
    """Its mount was there when the next run looked, and is not any more: its end is told like any other's."""
    image = bench.image()
    killed = (
        "import os, sys, imgkit.examination.exposing as e; from imgkit.cli import main\n"
        "e.ExposedImage = lambda *_: os.kill(os.getpid(), 9)\n"
        "sys.exit(main())\n"
    )
    words = [sys.executable, "-c", killed, "expose", str(image), str(place)]
    assert subprocess.run(words, env=bench.env, check=False).returncode == -9
    bench("info", image).ended(0)
    (pid,) = bench.exposures()
    (told,) = bench.of_type(case, "op.reconciled", "event")
    assert (told["data"]["result"], told["data"]["seen"]["pid"]) == ("unknown", pid)
    assert gone(bench, case) == []
    taken_away(bench, place)
    bench("info", image).ended(0)
    assert [line for line, _ in gone(bench, case)] == [told["data"]["line"]]
    assert "OPEN_ATTACHMENT" not in bench.verified(case)
    place.rmdir()

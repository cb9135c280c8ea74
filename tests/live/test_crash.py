"""SIGKILL at any moment: nothing is left that `status` does not show, and the log explains what was begun."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.live import filesystems
from tests.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.live.bench import Bench

pytestmark = pytest.mark.live

KILLS = 25  # of each of the four verbs: a partition for each
OPPOSITE = {"attach": "detach", "mount": "unmount", "detach": "attach", "unmount": "mount"}


@pytest.fixture(scope="module")
def squashfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squashfs")
    filesystems.make_tree(folder / "tree")
    filesystems.make_clean(folder / "image", "squashfs", folder / "tree")
    return folder / "image"


class Killing:
    """A case, a disk, and commands that are killed."""

    def __init__(self, bench: Bench, part: Path, seed: int) -> None:
        self.bench = bench
        self.case = bench.case()
        bench.env["IMGKIT_CASE"] = str(self.case)
        self.disk = bench.folder / "disk.dd"
        filesystems.make_disk(self.disk, "gpt", [part] * (KILLS + 2))
        self.random = random.Random(seed)
        self.codes: list[int] = []

    def commands(self, verb: str) -> list[tuple[str, ...]]:
        """One for each partition; what a detach or unmount takes down is put up here."""
        numbers = range(1, KILLS + 3)
        if verb in {"attach", "mount"}:
            return [(verb, str(self.disk), "-p", str(number)) for number in numbers]
        parts = [word for number in numbers for word in ("-p", str(number))]
        made = self.bench(OPPOSITE[verb], self.disk, *parts).ended(0).lines
        assert len(made) == KILLS + 2
        return [(verb, name) for name in made]

    def kill_all(self, commands: Sequence[tuple[str, ...]]) -> None:
        """Two are let be, to know how long it takes; the others die at a random moment.

        Of every three one dies at any moment of its run, two while they act: after their first record. Where one ended
        before its moment, the host is less busy than it was: the moments of the others come sooner.
        """
        self._let_be(commands[0])  # the first also makes the exhibit
        start, whole = self._let_be(commands[1])
        for number, words in enumerate(commands[2:]):
            aimed = number % 3 != 0
            sooner = 0.7 ** self.codes.count(0)
            delay = self.random.uniform(0, whole - start if aimed else whole) * sooner
            with self.bench.popen(*words) as process:
                if aimed:
                    self._wait_for_a_record(process)
                time.sleep(delay)
                process.kill()
                _, err = process.communicate()
            assert process.returncode in {-9, 0}, os.fsdecode(err)
            self.codes.append(process.returncode)

    def _let_be(self, words: tuple[str, ...]) -> tuple[float, float]:
        """Seconds to the first record and to the end."""
        began = time.monotonic()
        with self.bench.popen(*words) as process:
            self._wait_for_a_record(process)
            start = time.monotonic() - began
            process.communicate()
            whole = time.monotonic() - began
        assert process.returncode == 0
        return start, whole

    def _wait_for_a_record(self, process: subprocess.Popen[bytes]) -> None:
        log = self.bench.log_of(self.case)
        size = log.stat().st_size
        while log.stat().st_size == size and process.poll() is None:
            time.sleep(0.0005)

    def check(self) -> None:
        """What is left is shown, comes down, and is told by a log that verifies."""
        bench = self.bench
        wait_until(lambda: {item["device"] for item in bench.status()} == set(bench.devices()))
        assert {item["mountpoint"] for item in bench.status()} - {None} == set(bench.mounts())
        bench.verified(self.case)  # also before anybody has explained anything
        bench("unmount", "--all").ended(0)
        bench("detach", "--all").ended(0)
        wait_until(bench.is_clean)
        bench("partitions", self.disk).ended(0)  # whatever opens the case settles what was left open
        assert not {"OPEN_INTENT", "OPEN_ATTACHMENT", "LATE_OUTCOME"} & set(bench.verified(self.case))
        for record in bench.of_type(self.case, "op.reconciled", "event"):
            assert record["data"]["result"] in {"interrupted", "unknown"}
            assert record["data"]["type"].startswith("evidence.")


@pytest.fixture
def killing(bench: Bench, squashfs: Path) -> Iterator[Killing]:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  (shown where a test fails)
    killing = Killing(bench, squashfs, seed)
    before = filesystems.facts(killing.disk)
    yield killing
    assert filesystems.facts(killing.disk) == before


@pytest.mark.parametrize("verb", OPPOSITE)
def test_killed_at_any_moment(killing: Killing, verb: str) -> None:
    commands = killing.commands(verb)
    killing.kill_all(commands)
    assert len(killing.codes) == KILLS
    assert killing.codes.count(-9) >= KILLS // 3  # else the moments missed their runs
    killing.check()

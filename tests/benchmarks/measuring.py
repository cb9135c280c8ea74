"""Measure commands and calls in turn, and print both sides with their ratio."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[2]
LAUNCHER = Path(__file__).parent / "launcher.py"
IMGKIT = str(Path(sys.executable).parent / "imgkit")
RUNS = int(os.environ.get("IMGKIT_BENCH_RUNS", "5"))


@dataclass(frozen=True, slots=True)
class Sample:
    """The median of several runs: seconds, and the peak of memory in MiB (0 where it was not measured)."""

    seconds: float
    peak_mib: float = 0.0


@dataclass(slots=True)
class Table:
    """Rows of text under a title, printed as Markdown."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        assert len(cells) == len(self.columns)
        self.rows.append(cells)

    def __str__(self) -> str:
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return f"### {self.title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def environment(work: Path) -> dict[str, str]:
    """Imgkit's variables point into `work`: no state of this user is touched."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    own = {
        "XDG_STATE_HOME": str(work / "state"),
        "XDG_CONFIG_HOME": str(work / "config"),
        "IMGKIT_EXAMINER": "Bench <bench@localhost>",
    }
    return kept | own


def once(argv: Sequence[str], variables: Mapping[str, str], allowed: Sequence[int] = (0,)) -> Sample:
    """One run; a command that ends with another code than those allowed has measured nothing."""
    with tempfile.NamedTemporaryFile() as output:
        order = {"argv": list(argv), "environment": dict(variables), "output": output.name}
        started = subprocess.run(
            [sys.executable, "-S", "-E", str(LAUNCHER)],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            check=True,
        )
        done = json.loads(started.stdout)
        assert done["code"] in allowed, (
            f"{argv} exited with {done['code']}: {Path(output.name).read_text()[-2000:]}"
        )
    return Sample(done["seconds"], done["peak_kib"] / 1024)


def in_turn(
    commands: Mapping[str, Sequence[str]],
    variables: Mapping[str, str],
    *,
    runs: int = RUNS,
    allowed: Sequence[int] = (0,),
) -> dict[str, Sample]:
    """Every command once to warm up, then each in turn, `runs` times."""
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, argv in commands.items():
            sample = once(argv, variables, allowed)
            if number:
                samples[name].append(sample)
    return {name: median(found) for name, found in samples.items()}


def median(samples: Sequence[Sample]) -> Sample:
    seconds = statistics.median(sample.seconds for sample in samples)
    return Sample(seconds, statistics.median(sample.peak_mib for sample in samples))


def calls_in_turn(calls: Mapping[str, Callable[[], object]], *, runs: int = RUNS) -> dict[str, Sample]:
    """As in_turn, for calls in this process."""
    samples: dict[str, list[Sample]] = {name: [] for name in calls}
    for number in range(runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds = time.perf_counter() - start
            if number:
                samples[name].append(Sample(seconds))
    return {name: median(found) for name, found in samples.items()}


def ms(sample: Sample) -> str:
    """Milliseconds below a second, seconds above."""
    return f"{sample.seconds * 1000:.1f} ms" if sample.seconds < 1 else f"{sample.seconds:.2f} s"


def ratio(one: Sample, other: Sample) -> str:
    """How many times the other's time."""
    return f"{one.seconds / other.seconds:.2f}"

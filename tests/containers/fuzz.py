"""Opens and reads mutated images in processes of their own, and accepts only imgkit's errors and the right bytes.

By hand: `python -m tests.containers.fuzz --format ewf --count 20000`. A seed makes the same mutation every time
(`--first SEED --count 1` shows one again).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imgkit.containers import open_image
from imgkit.errors import ImgkitError, MediaReadError
from tests.containers.fuzz_samples import SAMPLES
from tests.containers.mutation import mutate
from tests.containers.oracle import refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from imgkit.image import Image
    from tests.containers.fuzz_samples import Sample

TIME = 5.0  # of the processor, for one image
HANG = 60.0  # seconds without an answer, whatever else this host does
MEMORY = 512 << 20  # bytes above what the process had before its first
_READ = 8 << 20  # bytes read from the start of the media
_PIECE = 1 << 20
_EXTENTS = 100_000


class Result(NamedTuple):
    """What became of one mutation.

    Attributes:
        seed: Makes it again.
        outcome: How the look ended.
        what: The mutation, in words.
        fault: Why that must not be; empty where it is one of the ways it may end.
        seconds: What the look took of the processor.
        grown: KiB that the process has taken since its first look, at the most.
    """

    seed: int
    outcome: str
    what: str
    fault: str = ""
    seconds: float = 0.0
    grown: int = 0


# --- looking at one ---


def look(path: Path, kind: str, truth: bytes | None, seed: int) -> str:
    """Open it and read of it; return how it ended.

    Raises:
        AssertionError: It served other bytes than the media's.
        Exception: What a reader must not let out.
    """
    try:
        image = open_image(path)
    except ImgkitError as error:
        return f"refused: {type(error).__name__}"
    with image:
        if image.format not in {kind, f"split-{kind}"}:
            return f"other: {image.format}"  # its own mark is gone
        json.dumps(
            [dict(image.metadata), image.anomalies, [str(item) for item in image.stored_digests]],
            allow_nan=False,
        )
        lost = sum(_read(image, offset, length, truth) for offset, length in _reads(image.size, seed))
        with contextlib.suppress(MediaReadError):
            for extent in itertools.islice(image.data_extents(), _EXTENTS):
                assert 0 <= extent.offset <= extent.end <= image.size
    return "some lost" if lost else "all served"


def _reads(size: int, seed: int) -> Iterator[tuple[int, int]]:
    """The start in pieces, the end, and places between."""
    rng = random.Random(seed)
    for offset in range(0, min(size, _READ), _PIECE):
        yield offset, min(_PIECE, size - offset)
    if size > _READ:
        yield size - 65536, 65536
        for _ in range(8):
            yield rng.randrange(size - 65536), rng.choice([1, 512, 65536])
    elif size > 1:
        for _ in range(4):
            offset = rng.randrange(size - 1)
            yield offset, min(rng.choice([1, 512, 5000]), size - offset)


def _read(image: Image, offset: int, length: int, truth: bytes | None) -> bool:
    """Whether some of it is lost; what is served has to be the media's where that is known."""
    if truth is not None:
        return bool(refused(image, offset, length, truth))
    try:
        assert len(image.read_at(offset, length)) == length
    except MediaReadError:
        return True
    return False


# --- the process that looks ---


def work(kind: str, folder: Path) -> None:
    """Take seeds from standard input, answer each with a line of JSON."""
    samples = SAMPLES[kind](folder)
    for sample in samples:
        assert look(sample.paths[0], kind, sample.truth, 0) == "all served", sample.paths
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _limit_memory()
    _say("ready")
    for line in sys.stdin:
        seed = int(line)
        sample = samples[seed % len(samples)]
        start = time.process_time()
        result = _try(kind, sample, seed)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        result = result._replace(seconds=time.process_time() - start, grown=grown)
        if result.seconds > TIME:
            result = result._replace(fault=f"took {result.seconds:.1f} s")
        if grown * 1024 > MEMORY:
            result = result._replace(fault=f"took {grown >> 10} MiB")
        _say(result)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _limit_memory() -> None:
    """RLIMIT_DATA counts what is writable and private; RLIMIT_AS would count what malloc reserves for each thread."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now = int(status["VmData"].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (now + MEMORY, now + MEMORY))


def _try(kind: str, sample: Sample, seed: int) -> Result:
    changes, what = mutate(sample, seed)
    kept = {index: sample.paths[index].read_bytes() for index in changes}
    for index, data in changes.items():
        if data is None:
            sample.paths[index].unlink()
        else:
            sample.paths[index].write_bytes(data)
    opened = next(
        path for path in random.Random(~seed).sample(sample.paths, len(sample.paths)) if path.exists()
    )
    if kind != "ewf":
        opened = sample.paths[0]
    try:
        return Result(seed, look(opened, kind, sample.truth, seed), what)
    except Exception:  # noqa: BLE001  (whatever a reader lets out is what this looks for)
        return Result(seed, "fault", what, traceback.format_exc(limit=-8))
    finally:
        for index, data in kept.items():
            sample.paths[index].write_bytes(data)


# --- the process that watches ---


class _Worker:
    """A process that looks at one image after the other; replaced when it hangs or dies."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        command = [
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            "tests.containers.fuzz",
            "--format",
            self._kind,
        ]
        process = subprocess.Popen(
            [*command, "--work", self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.readline() or "null") == "ready", "the samples cannot be read"
        return process

    def send(self, seed: int) -> None:
        self.seed, self.deadline = seed, time.monotonic() + HANG
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()

    def result(self) -> Result:
        """Read the answer that is there, or say how the process died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return Result(*json.loads(line))
        return self.replaced(f"the process died with {self.process.wait()}")

    def replaced(self, why: str) -> Result:
        self.close()
        self.process = self._start()
        return Result(self.seed, "fault", "", why)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._folder.cleanup()


def run(kind: str, seeds: Iterable[int], *, workers: int = 1) -> Iterator[Result]:
    """Try every seed, in `workers` processes; results come in no order."""
    pending = iter(seeds)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        busy: list[_Worker] = []
        for seed in itertools.islice(pending, workers):
            worker = _Worker(kind)
            stack.callback(worker.close)
            worker.send(seed)
            busy.append(worker)
            selector.register(worker.process.stdout or 0, selectors.EVENT_READ, worker)
        while busy:
            ready = [
                key.data
                for key, _ in selector.select(
                    max(0.0, min(item.deadline for item in busy) - time.monotonic())
                )
            ]
            late = [item for item in busy if item not in ready and time.monotonic() > item.deadline]
            for worker in [*ready, *late]:
                selector.unregister(worker.process.stdout)
                yield (
                    worker.result()
                    if worker in ready
                    else worker.replaced(f"gave no answer within {HANG:.0f} s")
                )
                following = next(pending, None)
                if following is None:
                    busy.remove(worker)
                    continue
                worker.send(following)
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--format", choices=sorted(SAMPLES), required=True)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.format, options.work)
        return 0
    outcomes: Counter[str] = Counter()
    slowest = grown = 0.0
    start = time.monotonic()
    for result in run(
        options.format, range(options.first, options.first + options.count), workers=options.workers
    ):
        outcomes[result.outcome] += 1
        slowest, grown = max(slowest, result.seconds), max(grown, result.grown / 1024)
        if result.fault:
            sys.stdout.write(f"seed {result.seed}: {result.what}\n{result.fault}\n")
    sys.stdout.write(
        f"{options.format}: {dict(outcomes.most_common())} in {time.monotonic() - start:.0f} s; "
        f"the slowest took {slowest:.2f} s, the memory grew by {grown:.0f} MiB\n"
    )
    return 1 if outcomes["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())

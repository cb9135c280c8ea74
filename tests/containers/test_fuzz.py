"""The fuzzer itself: what it must not overlook."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers import fuzz
from tests.containers.ewf_writer import Recipe, write_ewf
from tests.containers.fuzz_samples import SAMPLES, Sample, media
from tests.containers.mutation import mutate

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.xdist_group("fuzz")


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    truth = media(8, 2048)
    layout = write_ewf(tmp_path, truth, Recipe(sectors_per_chunk=4))
    return Sample(layout.paths, truth, [(0, 0, 13)], [])


def test_a_wrong_byte_is_a_fault(sample: Sample) -> None:
    assert fuzz.look(sample.paths[0], "ewf", sample.truth, 1) == "all served"
    assert sample.truth is not None
    wrong = sample.truth[:5000] + b"!" + sample.truth[5001:]
    with pytest.raises(AssertionError, match="wrong bytes"):
        fuzz.look(sample.paths[0], "ewf", wrong, 1)
    with pytest.raises(AssertionError, match="wrong bytes"):
        fuzz.look(sample.paths[0], "ewf", sample.truth[:-1], 1)


def test_an_error_that_is_not_imgkits_is_a_fault(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> None:
        raise IndexError

    monkeypatch.setattr(fuzz, "open_image", fail)
    result = fuzz._try("ewf", sample, 5)
    assert result.outcome == "fault"
    assert "IndexError" in result.fault


def test_the_sample_is_as_before_after_each_mutation(sample: Sample) -> None:
    before = sample.paths[0].read_bytes()
    results = [fuzz._try("ewf", sample, seed) for seed in range(30)]
    assert sample.paths[0].read_bytes() == before
    assert len({result.outcome for result in results}) > 1
    assert all(result.what for result in results)


def test_a_seed_makes_the_same_mutation_again(sample: Sample) -> None:
    changes = [mutate(sample, seed) for seed in range(50)]
    assert changes == [mutate(sample, seed) for seed in range(50)]
    assert sum(files != {0: sample.paths[0].read_bytes()} for files, _ in changes) > 40


def test_a_process_that_hangs_or_dies_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    results = fuzz.run("ewf", [1, 2, 3])
    signals = iter([signal.SIGSTOP, signal.SIGKILL])
    real = fuzz._Worker.send

    def send(worker: fuzz._Worker, seed: int) -> None:
        number = next(signals, None)
        if number:
            os.kill(worker.process.pid, number)
        try:
            real(worker, seed)
        except BrokenPipeError:
            worker.deadline = 0
        if number == signal.SIGSTOP:
            worker.deadline = 0  # the others have their time, however busy this host is

    monkeypatch.setattr(fuzz._Worker, "send", send)
    found = list(results)
    assert [result.seed for result in found] == [1, 2, 3]
    assert "no answer" in found[0].fault
    assert found[1].fault
    assert not found[2].fault


def test_memory_is_bounded() -> None:
    code = (
        "from tests.containers import fuzz\n"
        "fuzz._limit_memory()\n"
        "kept = bytearray(64 << 20)\n"
        "try:\n"
        "    kept = bytearray(fuzz.MEMORY)\n"
        "except MemoryError:\n"
        "    raise SystemExit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 7


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_every_format_has_samples(tmp_path: Path, kind: str) -> None:
    samples = SAMPLES[kind](tmp_path)
    assert len(samples) > 1
    for item in samples:
        assert all(path.stat().st_size for path in item.paths)
        assert all(end <= item.paths[index].stat().st_size for index, _, end in item.hot)
        for guard in item.guards:
            data = bytearray(item.paths[guard.file].read_bytes())
            guard.renew(data)
            assert bytes(data) == item.paths[guard.file].read_bytes()

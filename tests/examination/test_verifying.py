"""What happens to a file while it is read: cut short, written to, swapped; and what the parts of an image say together."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.examination import Examination, reading
from imgkit.examination.evidence import FileChanges
from imgkit.examination.reading import Hashed, Part, part_verdict
from imgkit.examination.verifying import overall_verdict
from imgkit.hashing import Digest, hash_range
from imgkit.image import Extent
from imgkit.references.reference import Comparison, Reference, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imgkit.hashing import HashPass

GOOD, BAD = Digest("md5", "a" * 32), Digest("md5", "b" * 32)
SIZE = 9 << 20  # more than two buffers


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.dd"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def examination(tmp_path: Path) -> Iterator[Examination]:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    os.chdir(tmp_path)
    with Examination.open(examiner="Jane Doe <jane@lab>", argv=["test"], environ=environ) as opened:
        yield opened


@contextmanager
def meddling(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, after: bool) -> Iterator[None]:
    """Do something to the file once it is open: before its bytes are read, or after."""

    def read(*args: Any, **options: Any) -> HashPass:
        if not after:
            act()
        done = hash_range(*args, **options)
        if after:
            act()
        return done

    with monkeypatch.context() as patched:
        patched.setattr(reading, "hash_range", read)
        yield


def kinds(examination: Examination) -> list[str]:
    return [record["type"] for record in examination.log.records() if record["phase"] != "intent"]


@pytest.mark.parametrize("left", [0, 1, 5000, SIZE - 1])
def test_a_file_cut_short_while_it_is_read_is_unreadable_and_changed(
    examination: Examination, image: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    with (
        examination.evidence(str(image)) as evidence,
        meddling(monkeypatch, lambda: os.truncate(image, left), after=False),
    ):
        result = examination.verify(evidence, expected=[GOOD])
    (part,) = result.parts
    assert part.digests == ()
    assert part.comparisons == []
    assert part.changed == [str(image)]
    assert result.verdict == "mismatch"  # the evidence is not what it was
    assert sum(extent.length for extent in part.read_errors) == SIZE - left
    assert part.read_errors[-1].end == SIZE
    assert "evidence.changed" in kinds(examination)


@pytest.mark.parametrize("after", [False, True])
def test_a_file_written_to_while_it_is_read_is_no_match_whatever_its_digest(
    examination: Examination, image: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    def write() -> None:
        with image.open("r+b") as file:
            file.seek(SIZE - 1)
            file.write(b"x")

    with examination.evidence(str(image)) as evidence:
        digest = examination.hash(evidence, algorithms=["md5"]).parts[0].digests[0]
    with examination.evidence(str(image)) as evidence, meddling(monkeypatch, write, after=after):
        result = examination.verify(evidence, expected=[digest])
    assert result.parts[0].changed == [str(image)]
    assert result.verdict == "mismatch"
    assert kinds(examination)[-1] == "evidence.changed"


def test_a_file_whose_mode_alone_changed_is_told_and_no_mismatch(
    examination: Examination, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        examination.evidence(str(image)) as evidence,
        meddling(monkeypatch, lambda: image.chmod(0o600), after=False),
    ):
        result = examination.verify(evidence)
    assert result.parts[0].changed == []
    assert result.verdict == "no-reference"
    (outcome,) = [
        record
        for record in examination.log.records()
        if record["type"] == "evidence.verified" and record["phase"] == "outcome"
    ]
    assert outcome["data"]["touched"] == [str(image)]


def test_a_file_replaced_while_it_is_read_is_still_read_as_it_was(
    examination: Examination, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = image.with_name("other.dd")
    other.write_bytes(b"x" * SIZE)
    with examination.evidence(str(image)) as evidence:
        digest = examination.hash(evidence, algorithms=["md5"]).parts[0].digests[0]
    with (
        examination.evidence(str(image)) as evidence,
        meddling(monkeypatch, lambda: other.replace(image), after=False),
    ):
        result = examination.verify(evidence, expected=[digest])
    assert [item.matches for item in result.parts[0].comparisons] == [True, True]
    with examination.evidence(str(image)) as evidence:
        assert examination.verify(evidence).verdict == "mismatch"


# -- verdicts --------------------------------------------------------------------------------------


def part(
    of: str = "media",
    *,
    stated: tuple[tuple[Digest, str], ...] = (),
    read_errors: tuple[Extent, ...] = (),
    changed: tuple[str, ...] = (),
) -> Hashed:
    """A part that hashed to GOOD; `stated` are digests with whose word they are."""
    whole = Part(of, Extent(0, 512), of)
    hashed = Hashed(whole, digests=(GOOD,), read_errors=read_errors, changes=FileChanges(changed=changed))
    for digest, origin in stated:
        source = Source("option", origin=origin)  # type: ignore[arg-type]  # one of three words
        hashed.comparisons.append(Comparison(Reference(digest, of, source), GOOD))
    return hashed


@pytest.mark.parametrize(
    ("hashed", "verdict"),
    [
        (part(), "no-reference"),
        (part(stated=((GOOD, "acquisition"),)), "match"),
        (part(stated=((GOOD, "container"),)), "match"),
        (part(stated=((GOOD, "own"),)), "unchanged"),
        (part(stated=((GOOD, "own"), (GOOD, "acquisition"))), "match"),
        (part(stated=((GOOD, "acquisition"), (BAD, "own"))), "mismatch"),
        (part(stated=((GOOD, "acquisition"), (BAD, "acquisition"))), "mismatch"),
        (part(read_errors=(Extent(0, 512),)), "unreadable"),
        (part(changed=("/disk.dd",), stated=((GOOD, "acquisition"),)), "mismatch"),
        (part(changed=("/disk.dd",), read_errors=(Extent(0, 512),)), "mismatch"),
    ],
)
def test_what_a_part_says(hashed: Hashed, verdict: str) -> None:
    assert part_verdict(hashed) == verdict


MATCH = ((GOOD, "acquisition"),)


@pytest.mark.parametrize(
    ("parts", "segments", "verdict"),
    [
        ([part(stated=MATCH), part("partition:1", stated=((BAD, "own"),))], 1, "mismatch"),
        ([part(stated=MATCH), part("partition:1", read_errors=(Extent(0, 1),))], 1, "unreadable"),
        ([part(), part("partition:1", stated=MATCH)], 1, "no-reference"),
        ([part(), part("segment:0", stated=MATCH), part("segment:1", stated=MATCH)], 2, "match"),
        ([part(), part("segment:0", stated=MATCH)], 2, "no-reference"),
        ([part(), part("container", stated=MATCH)], 1, "match"),
        ([part(), part("container", stated=((GOOD, "own"),))], 1, "no-reference"),
        ([part(stated=MATCH), part("container", stated=((BAD, "acquisition"),))], 1, "mismatch"),
        ([part(read_errors=(Extent(0, 1),)), part("container", stated=MATCH)], 1, "unreadable"),
        ([part()], 0, "no-reference"),
        ([part(stated=((GOOD, "own"),)), part("segment:0", stated=MATCH)], 2, "unchanged"),
        ([part(stated=((BAD, "own"),)), part("segment:0", stated=MATCH)], 1, "mismatch"),
    ],
)
def test_what_the_parts_say_together(parts: list[Hashed], segments: int, verdict: str) -> None:
    assert overall_verdict(parts, segments=segments) == verdict


def test_a_comparison_is_asked_for_its_answer() -> None:
    comparison = Comparison(Reference(BAD, "media", Source("option")), GOOD)
    with pytest.raises(TypeError):
        bool(comparison)

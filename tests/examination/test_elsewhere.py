"""Evidence at somebody else's: known by size and digest, whatever it is called there."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.errors import UsageError
from imgkit.examination.elsewhere import DEPTH_LIMIT, check_evidence
from imgkit.examination.examiner import invoking_user
from imgkit.examination.ledger import Exhibit, Ledger, OwnDigest
from imgkit.hashing import Digest
from imgkit.image import Extent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imgkit.examination.elsewhere import EvidenceCheck

USER = invoking_user({})
FIRST, SECOND = os.urandom(5000), os.urandom(5000)


def ledger(**media: bytes | None) -> Ledger:
    """A log with one exhibit for each; None has no digest."""
    made = Ledger()
    for line, (name, data) in enumerate(media.items(), start=2):
        exhibit = Exhibit(name, line, added={"size": len(data) if data is not None else 5000})
        if data is not None:
            digest = Digest("sha256", hashlib.sha256(data).hexdigest())
            exhibit.own.append(OwnDigest("media", digest, line, Extent(0, len(data))))
        made.exhibits[name] = exhibit
    return made


def check(folder: Path, log: Ledger, **files: bytes) -> EvidenceCheck:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    before = {path: _state(path) for path in folder.rglob("*") if path.is_file()}
    found = check_evidence(log, str(folder), USER)
    assert {path: _state(path) for path in folder.rglob("*") if path.is_file()} == before
    return found


def _state(path: Path) -> Mapping[str, Any]:
    status = path.stat()
    return {name: getattr(status, name) for name in ("st_size", "st_mtime_ns", "st_ctime_ns", "st_atime_ns")}


def verdicts(found: EvidenceCheck) -> dict[str, str]:
    return {item.exhibit: item.verdict for item in found.exhibits}


def test_found_under_another_name_deep_down(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.bin").write_bytes(FIRST)
    found = check(tmp_path, ledger(EX1=FIRST, EX2=b"other size", EX3=None), note=b"not evidence")
    assert verdicts(found) == {"EX1": "match", "EX2": "not-found", "EX3": "no-digest"}
    assert found.exhibits[0].images[0].path == str(tmp_path / "a" / "b" / "x.bin")
    assert not found.failed
    with pytest.raises(TypeError):
        bool(found)


def test_one_byte_differs(tmp_path: Path) -> None:
    found = check(tmp_path, ledger(EX1=FIRST), disk=FIRST[:-1] + bytes([FIRST[-1] ^ 1]))
    assert verdicts(found) == {"EX1": "mismatch"}
    assert found.failed


def test_the_image_of_another_exhibit_of_this_size_is_no_difference(tmp_path: Path) -> None:
    found = check(tmp_path, ledger(EX1=FIRST, EX2=SECOND), disk=SECOND)
    assert verdicts(found) == {"EX1": "not-found", "EX2": "match"}
    assert found.exhibits[0].images == ()


def test_a_changed_copy_beside_a_good_one_is_of_no_consequence_for_it(tmp_path: Path) -> None:
    found = check(tmp_path, ledger(EX1=FIRST), good=FIRST, other=SECOND)
    assert verdicts(found) == {"EX1": "match"}
    assert [os.path.basename(image.path) for image in found.exhibits[0].images] == ["good"]


def test_digests_that_were_stated_count_where_we_have_none(tmp_path: Path) -> None:
    log = ledger(EX1=None)
    log.exhibits["EX1"].stated.append(("media", Digest("md5", hashlib.md5(FIRST).hexdigest()), 2))  # noqa: S324
    assert verdicts(check(tmp_path, log, disk=FIRST)) == {"EX1": "match"}
    assert verdicts(check(tmp_path, log, disk=SECOND)) == {"EX1": "mismatch"}


def test_links_are_not_followed_and_broken_images_are_told(tmp_path: Path) -> None:
    (tmp_path / "beside").write_bytes(FIRST)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "beside")
    (inside / "loop").symlink_to(inside)
    found = check(inside, ledger(EX1=FIRST), broken=b"QFI\xfb\0\0\0\x03" + b"\xff" * 600)
    assert verdicts(found) == {"EX1": "not-found"}
    assert [os.path.basename(path) for path, _why in found.unreadable] == ["broken"]


def test_no_folder_and_a_bottomless_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        check_evidence(ledger(EX1=FIRST), str(tmp_path / "nothing"), USER)
    deep = tmp_path.joinpath(*["d"] * (DEPTH_LIMIT + 1))
    deep.mkdir(parents=True)
    with pytest.raises(UsageError, match="folders"):
        check_evidence(ledger(EX1=FIRST), str(tmp_path), USER)

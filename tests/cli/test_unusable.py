"""A file that cannot be used as a reference silences no other: the rest is compared, and the exit code says what is missing."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.running import Imgkit

CONTENT = b"evidence\n" * 2048
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WRONG = "1" * 64


@pytest.mark.parametrize(
    "garbage", [b"", b"not a digest\n", os.urandom(2000)], ids=["empty", "text", "noise"]
)
def test_a_sidecar_of_garbage_hides_no_mismatch(imgkit: Imgkit, garbage: bytes) -> None:
    image = imgkit.image()
    sidecar = imgkit.folder / "disk.dd.md5"
    sidecar.write_bytes(garbage)
    done = imgkit("verify", image, "--expect", f"sha256:{WRONG}").ended(1)
    assert done.lines[-1] == "verdict: MISMATCH"
    assert f"{sidecar} states no digest that is understood" in done.errors[0]
    done = imgkit("verify", image, "--expect", f"sha256:{SHA256}", "--json").ended(3)
    (found,) = done.json["images"]
    assert found["verdict"] == "match"  # of what could be compared
    assert found["unusable"] == [
        {"path": str(sidecar), "message": f"{sidecar} states no digest that is understood"}
    ]
    assert imgkit.records()[-1]["data"]["unusable"] == found["unusable"]
    assert done.errors


@pytest.mark.parametrize("name", ["missing", ".", "empty"])
def test_an_against_that_states_nothing_hides_no_mismatch(imgkit: Imgkit, name: str) -> None:
    image = imgkit.image()
    (imgkit.folder / "empty").touch()
    words = ("verify", image, "--against", name)
    assert imgkit(*words, "--expect", f"sha256:{WRONG}").ended(1).errors
    assert imgkit(*words, "--expect", f"sha256:{SHA256}").ended(3).errors
    (found,) = imgkit(*words, "--json").ended(3).json["images"]
    assert len(found["unusable"]) == 1
    (found,) = imgkit(*words, "--json").ended(3).json["images"]
    assert found["verdict"] == "unchanged"


def test_an_against_that_is_silent_about_the_image_is_no_match(imgkit: Imgkit) -> None:
    image = imgkit.image()
    (imgkit.folder / "list").write_text(f"{SHA256}  other.dd\n", encoding="ascii")
    done = imgkit("verify", image, "--against", "list", "--expect", f"sha256:{SHA256}").ended(3)
    assert done.lines[-1] == "verdict: match"
    assert "nothing that --against names states a digest of disk.dd" in done.errors[0]
    (imgkit.folder / "second").write_text(f"{SHA256}  disk.dd\n", encoding="ascii")
    imgkit("verify", image, "--against", "list", "--against", "second").ended(0)


def test_a_log_that_does_not_verify_hides_no_mismatch(imgkit: Imgkit) -> None:
    case = imgkit.case("theirs")
    log = case / "custody.jsonl"
    log.write_text(log.read_text(encoding="utf-8") + "{}\n", encoding="utf-8")
    image = imgkit.image()
    done = imgkit("verify", image, "--against", case, "--expect", f"sha256:{WRONG}").ended(1)
    assert "the log does not verify" in done.errors[0]


def test_a_name_in_other_case_is_used_and_told(imgkit: Imgkit) -> None:
    image = imgkit.image("i.dd")
    sums = imgkit.folder / "SHA256SUMS"
    sums.write_text(f"{SHA256}  I.DD\n", encoding="ascii")
    done = imgkit("verify", image).ended(0)
    assert done.lines[-1] == "verdict: match"
    assert f"{sums} names I.DD, taken for i.dd" in done.err
    sums.write_text(f"{WRONG}  I.DD\n", encoding="ascii")
    imgkit("verify", image).ended(1)

"""What an E01 says of its media beside how it is cut: digests, acquisition errors, sessions."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.containers import open_image
from tests.containers.ewf_writer import DESCRIPTOR, Recipe, checked, descriptor, write_ewf
from tests.containers.sets import media

if TYPE_CHECKING:
    from pathlib import Path


def test_errors_and_sessions_are_shown_in_bytes(tmp_path: Path) -> None:
    recipe = Recipe(errors=[(10, 2), (100, 64)], sessions=[(0, 16), (1, 100)], media_type=3, granularity=8)
    layout = write_ewf(tmp_path, media(200 * 512), recipe)
    with open_image(layout.paths[0]) as image:
        shown = image.metadata
        assert shown["acquisition_errors"] == (
            {"offset": 5120, "length": 1024},
            {"offset": 51200, "length": 32768},
        )
        tracks: Any = shown["sessions"]
        assert [(item["kind"], item["offset"], item["length"]) for item in tracks] == [
            ("data", 16 * 512, 84 * 512),
            ("audio", 100 * 512, 100 * 512),
        ]
        assert shown["tracks"] == tracks[1:]
        facts = shown["container"]
        assert isinstance(facts, dict)
        assert (facts["media_type"], facts["error_granularity"]) == ("optical", 8)


MD5_OF_A = "41" * 16


@pytest.mark.parametrize(
    ("payload", "notice"),
    [
        (zlib.compress(b"<xhash>\r\n<md5>" + MD5_OF_A.encode() + b"</md5></xhash>"), None),
        (zlib.compress(b"<xhash><MD5>" + b"0" * 32 + b"</MD5></xhash>"), None),
        (zlib.compress(b"<xhash><MD5>" + b"42" * 16 + b"</MD5></xhash>"), "another section states"),
        (zlib.compress(b"<xhash><MD5>4141</MD5></xhash>"), "a md5 of 4 digits"),
        (zlib.compress(b"<xhash>")[:-1], "cut short"),
        (zlib.compress(bytes(1 << 20)), "more than 65536 bytes of text"),
        (b"no zlib", "cannot be inflated"),
    ],
)
def test_an_xhash_is_a_stored_digest_or_a_notice(tmp_path: Path, payload: bytes, notice: str | None) -> None:
    layout = write_ewf(tmp_path, bytes(512), Recipe(stored_md5=b"A" * 16))
    done = layout.find("done").offset
    data = layout.paths[0].read_bytes()[:done]
    size = DESCRIPTOR + len(payload)
    data += descriptor("xhash", done + size, size) + payload + descriptor("done", done + size, DESCRIPTOR)
    layout.paths[0].write_bytes(data)
    with open_image(layout.paths[0]) as image:
        assert str(image.stored_digests[0]) == f"md5:{MD5_OF_A}"
        told = image.metadata.get("notices", ())
        assert (notice in str(told)) if notice else told == ()
        assert len(image.stored_digests) == (2 if notice == "another section states" else 1)


def test_digests_that_contradict_each_other_are_both_offered(tmp_path: Path) -> None:
    layout = write_ewf(tmp_path, bytes(512), Recipe(stored_md5=b"A" * 16, stored_sha1=True))
    digest = layout.find("digest").payload
    body = bytearray(layout.paths[0].read_bytes())
    body[digest : digest + 80] = checked(b"B" * 16 + bytes(20) + bytes(40))
    layout.paths[0].write_bytes(body)
    with open_image(layout.paths[0]) as image:
        assert [str(item) for item in image.stored_digests] == ["md5:" + "42" * 16, "md5:" + "41" * 16]
        notices = image.metadata["notices"]
        assert isinstance(notices, tuple)
        assert "another section states" in notices[0]

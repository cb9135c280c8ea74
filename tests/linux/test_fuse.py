"""Sizes and places of linux/fuse.h, and what the kernel says to a new connection."""

from __future__ import annotations

import struct

import pytest

from imgkit.linux import fuse


def test_sizes_are_the_headers() -> None:
    attributes = fuse.Attributes(1, 2, 3, 4, 5, 6, 7)
    assert len(attributes.pack()) == 88
    assert len(fuse.entry_answer(2, 1, attributes)) == 128
    assert len(fuse.attributes_answer(1, attributes)) == 104
    assert len(fuse.open_answer(0)) == 16
    assert len(fuse.statfs_answer(size=1, files=1, name_length=255)) == 80
    assert len(fuse.init_answer(max_readahead=0, flags=0, max_background=1, max_pages=1)) == 64
    assert (fuse.IN_HEADER_SIZE, fuse.OUT_HEADER_SIZE) == (40, 16)


def test_an_answer_counts_itself_and_turns_the_errno_round() -> None:
    assert fuse.answer_header(9, 5, 100) == struct.pack("=IiQ", 116, -5, 9)


@pytest.mark.parametrize(
    ("name", "length"), [(b"a", 32), (b"12345678", 32), (b"123456789", 40), (b"x" * 255, 280)]
)
def test_directory_entries_are_padded_to_eight(name: bytes, length: int) -> None:
    entry = fuse.directory_entry(3, 4, 8, name)
    assert len(entry) == length
    assert entry[24 : 24 + len(name)] == name


def test_times_before_the_second() -> None:
    fields = struct.unpack("=QQQQQQIIIIIIIIII", fuse.Attributes(1, 1, 0, 1, 0, 0, 1_500_000_001).pack())
    assert (fields[3], fields[6]) == (1, 500_000_001)

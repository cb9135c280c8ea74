"""What the kernel would clip in silence is refused beforehand, with numbers that would do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgkit.attachment import check_extent
from imgkit.errors import AttachError
from imgkit.image import Extent


@pytest.mark.parametrize(
    ("extent", "size", "block", "message", "hint"),
    [
        (Extent(0, 0), 4096, 512, "empty", None),
        (Extent(4096, 512), 4096, 512, "media ends at 4096", None),
        (Extent(1 << 40, 512), 4096, 512, "media ends at 4096", None),
        (Extent(3584, 1024), 4096, 512, "512 bytes past", "--offset 3584 --length 512 is what"),
        (Extent(3584, 1024), 3600, 512, "1008 bytes past", None),
        (Extent(100, 512), 4096, 512, "multiple of 512", "--offset 0 --length 1024 covers it"),
        (Extent(5, 1000), 4096, 512, "multiple of 512", "--offset 0 --length 1024 covers it"),
        (Extent(5, 1000), 1010, 512, "multiple of 512", "--offset 0 --length 512 is what"),
        (Extent(1025, 1), 1030, 512, "multiple of 512", None),
        (Extent(512, 700), 4096, 512, "last 188 bytes", "--offset 512 --length 1024 covers it"),
        (Extent(512, 1), 4096, 512, "last 1 bytes", "--offset 512 --length 512 covers it"),
        (Extent(0, 512), 8192, 4096, "last 512 bytes", "--offset 0 --length 4096 covers it"),
        (Extent(0, 512), 4095, 4096, "last 512 bytes", None),
        (None, 0, 512, "media of 0 bytes", None),
        (None, 1, 512, "media of 1 bytes", None),
        (None, 511, 512, "media of 511 bytes", None),
        (None, 4096, 4095, "block size of 4095", "512, 1024"),
        (None, 1 << 20, 65536, "block size of 65536", "512, 1024"),
    ],
)
def test_refused(extent: Extent | None, size: int, block: int, message: str, hint: str | None) -> None:
    with pytest.raises(AttachError, match=message) as caught:
        check_extent(extent, size, block_size=block)
    if hint is None:
        assert caught.value.hint is None
    else:
        assert hint in (caught.value.hint or "")


def test_whole_media_may_have_a_tail() -> None:
    assert check_extent(None, 512 * 7 + 100) == (Extent(0, 512 * 7), 100)
    assert check_extent(Extent(0, 512 * 7 + 100), 512 * 7 + 100) == (Extent(0, 512 * 7), 100)
    assert check_extent(None, 4096 + 512, block_size=4096) == (Extent(0, 4096), 512)


@given(
    offset=st.integers(0, 1 << 16),
    length=st.integers(0, 1 << 16),
    size=st.integers(0, 1 << 16),
    block=st.sampled_from((512, 1024, 2048, 4096)),
)
def test_what_is_allowed_is_what_the_kernel_will_show(
    offset: int, length: int, size: int, block: int
) -> None:
    asked = Extent(offset, length)
    try:
        shown, tail = check_extent(asked, size, block_size=block)
    except AttachError:
        return
    assert shown.offset == offset
    assert shown.length + tail == length
    assert shown.length > 0
    assert asked.end <= size
    assert (shown.offset % 512, shown.length % block) == (0, 0)
    assert tail == 0 or asked == Extent(0, size)


@given(
    offset=st.integers(0, 1 << 16),
    length=st.integers(1, 1 << 16),
    size=st.integers(1, 1 << 16),
    block=st.sampled_from((512, 4096)),
)
def test_the_hint_would_do_and_covers_what_it_says(offset: int, length: int, size: int, block: int) -> None:
    asked, hint = Extent(offset, length), None
    try:
        check_extent(asked, size, block_size=block)
    except AttachError as error:
        hint = error.hint
    if hint is not None:
        words = hint.split()
        stated = Extent(int(words[1]), int(words[3]))
        assert check_extent(stated, size, block_size=block)[1] == 0
        assert stated.offset <= asked.offset
        assert (stated.end >= asked.end) == hint.endswith("covers it")

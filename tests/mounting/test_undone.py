"""Whatever goes wrong once the kernel has mounted something: it is taken down again, and the directory goes too."""

from __future__ import annotations

import dataclasses
import signal
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.attachment import attach
from imgkit.containers import open_image
from imgkit.errors import MountError
from imgkit.linux import mount as kernel
from imgkit.mounting import mount
from imgkit.mounting.superblock import detached_mount
from tests.live import filesystems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imgkit.attachment import Attachment
    from imgkit.linux.mount import MountInfo

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live"), pytest.mark.xdist_group("mount")]


@pytest.fixture
def attached(tmp_path: Path) -> Iterator[Attachment]:
    image = tmp_path / "image"
    (tmp_path / "tree").mkdir()
    filesystems.make_clean(image, "squashfs", tmp_path / "tree")
    with open_image(str(image)) as media, attach(media) as device:
        yield device.attachment


def nothing_is_left(directory: Path) -> bool:
    return not directory.exists() and not any(
        info.target == str(directory) for info in kernel.read_mountinfo()
    )


def lying(monkeypatch: pytest.MonkeyPatch, change: Callable[[MountInfo], MountInfo]) -> None:
    """From now on mountinfo says something else than was asked for."""
    truth = kernel.read_mountinfo
    monkeypatch.setattr(kernel, "read_mountinfo", lambda: [change(info) for info in truth()])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": ("rw", "nosuid", "nodev", "noexec", "nosymfollow")}, "the mount is not ro"),
        ({"options": ("ro", "nodev")}, "the mount is not nosuid; the mount is not noexec"),
        ({"super_options": ("rw",)}, "the superblock is not ro"),
        ({"source": "/dev/loop4711"}, "it shows /dev/loop4711"),
        ({"target": "/elsewhere"}, "it is seen at /elsewhere"),
        ({"propagation": ("shared:9",)}, "its propagation is not private"),
        ({"mount_id": -5}, "that mountinfo does not show"),
    ],
)
def test_a_difference_is_undone(
    attached: Attachment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    said: str,
) -> None:
    with monkeypatch.context() as patch:
        lying(
            patch, lambda info: dataclasses.replace(info, **change) if info.target.endswith("seen") else info
        )
        with pytest.raises(MountError, match=said) as caught:
            mount(attached, str(tmp_path / "seen"), filesystem="squashfs")
    assert "and took it down again" in caught.value.message
    assert nothing_is_left(tmp_path / "seen")


def test_options_that_are_not_in_force_are_undone(
    attached: Attachment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel took the option and did not keep to it."""
    monkeypatch.setattr(
        "imgkit.mounting.up.detached_mount",
        lambda *arguments: dataclasses.replace(detached_mount(*arguments), in_force=("noload|norecovery",)),
    )
    with pytest.raises(MountError, match=r"the superblock is not noload\|norecovery"):
        mount(attached, str(tmp_path / "seen"), filesystem="squashfs")
    assert nothing_is_left(tmp_path / "seen")


def test_an_interrupt_while_it_is_read_back(
    attached: Attachment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held back until the mount is known, then obeyed: the caller never learns of the mount, so it must not stay."""
    real = kernel.mount_id_of

    def interrupted(descriptor: int) -> int:
        signal.raise_signal(signal.SIGINT)
        return real(descriptor)

    monkeypatch.setattr(kernel, "mount_id_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mount(attached, str(tmp_path / "seen"), filesystem="squashfs")
    assert nothing_is_left(tmp_path / "seen")


def test_propagation_that_cannot_be_changed(
    attached: Attachment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(kernel, "make_private", refuse)
    with pytest.raises(MountError, match="Invalid argument"):
        mount(attached, str(tmp_path / "seen"), filesystem="squashfs")
    assert nothing_is_left(tmp_path / "seen")

"""Directories where an image is exposed, or will not be: what is said, and that nothing is left."""

from __future__ import annotations

import os
import shlex
import signal
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_expose import served, split, wait_until_gone
from tests.cli.test_ordinary_user import account, person
from tests.conftest import mounted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit

__all__ = ["account", "person", "split"]  # fixtures

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live"), pytest.mark.xdist_group("ordinary-user")]


@pytest.mark.parametrize("killed", [False, True])
def test_an_exposure_in_the_way_is_named(person: Imgkit, split: tuple[Path, Path], *, killed: bool) -> None:
    place = person.folder / "a'b"
    person("expose", split[1], place).ended(0)
    (pid,) = served(person)
    if killed:
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
    hint = f"hint: an image is exposed there; to take that down: imgkit unexpose {shlex.quote(str(place))}"
    assert hint in person("expose", split[1], place).ended(3).err
    if killed:
        assert hint in person("expose", split[1], place / "below").ended(3).err
    refused = person.sudo("mount", split[0], "-p", "1", place).ended(3).err
    assert hint in refused
    assert "taken down again" not in refused  # found out before anything was attached
    person("unexpose", place).ended(0)
    assert str(place) not in mounted()


@pytest.mark.parametrize("stem", ["x" * 251, "é" * 125, "a,b\\c d", "two\nlines", "\udcff"])
def test_any_name_of_an_image_does(person: Imgkit, split: tuple[Path, Path], stem: str) -> None:
    """As the user, through fusermount3, and as root, through the mount API."""
    image = person.image(f"{stem}.001", split[1].read_bytes())
    for run in (person, person.sudo):
        document = run("expose", image, "seen", "--json").ended(0).json
        assert document["size"] == image.stat().st_size
        if run == person.sudo:
            (name,) = os.listdir(person.folder / "seen")
            assert stem.startswith(name.removesuffix(".raw"))
            assert (person.folder / "seen" / name).read_bytes() == image.read_bytes()
        run("unexpose", "seen").ended(0)


def test_an_empty_name_is_no_directory(person: Imgkit, split: tuple[Path, Path]) -> None:
    """`expose disk.E01 "$unset"` in an empty directory would put it there."""
    empty = person.folder / "empty"
    empty.mkdir(mode=0o777)
    for words in (("expose", split[1], ""), ("unexpose", ""), ("mount", split[0], "")):
        assert "the name of the directory is empty" in person(*words, cwd=empty).ended(2).err
    assert str(empty) not in mounted()


def test_one_directory_by_two_names(person: Imgkit, split: tuple[Path, Path]) -> None:
    person("expose", split[1], "seen").ended(0)
    document = person("unexpose", "seen", person.folder / "seen" / ".", "--json").ended(0).json
    assert [item["file"] for item in document["exposures"]] == [f"{person.folder}/seen/disk.raw"]

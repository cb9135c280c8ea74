"""What an ordinary user exposed, taken down by root at a console of their own: compared, and recorded in the user's log."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import Imgkit
from tests.cli.test_expose import records, served, split, wait_until_gone
from tests.cli.test_ordinary_user import account, own_log, person
from tests.conftest import mounted

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["account", "person", "split"]  # fixtures

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("live"), pytest.mark.xdist_group("ordinary-user")]


@pytest.fixture
def root(person: Imgkit, tmp_path: Path) -> Imgkit:
    """Root who logged in as root: with a memory of its own."""
    root = Imgkit(tmp_path)
    root.env["IMGKIT_EXAMINER"] = "Root <root@lab>"
    return root


@pytest.mark.parametrize("killed", [False, True])
def test_it_is_compared_and_recorded(
    person: Imgkit, root: Imgkit, split: tuple[Path, Path], *, killed: bool
) -> None:
    place = person.folder / "a" / "seen"
    person("expose", split[1], place).ended(0)
    (pid,) = served(person)
    if killed:
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
    (shown,) = [
        i for i in root("status", "--json").ended(0).json["exposures"] if i["directory"] == str(place)
    ]
    assert (shown["exhibit"], shown["log"] is not None) == ("EX1", True)
    done = root("unexpose", place).ended(0)
    assert "not compared" not in done.err
    assert not place.parent.exists()  # made by expose
    (unexposed,) = records(person, "evidence.unexposed")
    assert unexposed["data"]["compared"] is True
    assert unexposed["actor"]["id"] == "root@lab"
    assert own_log(person).stat().st_uid == person.user.uid  # type: ignore[union-attr]  # the fixture's
    codes = {item["code"] for item in person("log", "verify", "--json").ended(0).json["findings"]}
    assert not codes & {"OPEN_ATTACHMENT", "OPEN_INTENT"}
    person("info", split[0]).ended(0)


def test_a_change_is_found(person: Imgkit, root: Imgkit, split: tuple[Path, Path]) -> None:
    person("expose", split[1], "seen").ended(0)
    os.utime(split[1].with_name("disk.002"), (1, 1))
    assert "EVIDENCE CHANGED" in root("unexpose", person.folder / "seen").ended(1).err
    assert len(records(person, "evidence.changed")) == 1


def test_no_log_tells_of_it(person: Imgkit, root: Imgkit, split: tuple[Path, Path]) -> None:
    """It comes down all the same, and what is missing is said."""
    person("expose", split[1], "seen", env={"XDG_STATE_HOME": str(person.folder / "elsewhere")}).ended(0)
    done = root("unexpose", person.folder / "seen").ended(0)
    assert "not compared" in done.err
    assert "recorded in no log" in done.err
    assert served(person) == []


@pytest.mark.parametrize(
    "data",
    [
        {"created": [{"path": "/"}, 7]},
        {"created": [{"path": "OTHER"}, {"path": "PLACE"}]},
        {"files": [{"path": "x"}]},
        {"files": "all"},
        {"target": None},
    ],
)
def test_a_log_that_lies_leads_root_nowhere(
    person: Imgkit, root: Imgkit, split: tuple[Path, Path], tmp_path: Path, data: dict[str, object]
) -> None:
    """The user writes what they like into their log: root removes nothing else for it, and does not stumble."""
    other, place = tmp_path / "other", person.folder / "seen"
    other.mkdir()
    person("expose", split[1], place).ended(0)
    lines = own_log(person).read_bytes().splitlines(keepends=True)
    text = json.dumps(data).replace("OTHER", str(other)).replace("PLACE", str(place))
    changed = []
    for line in lines:
        record = json.loads(line)
        if record["type"] == "evidence.exposed":
            record["data"] |= json.loads(text)
        changed.append(json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    own_log(person).write_bytes(b"".join(changed))
    root("status", "--json").ended(0)
    assert not root("unexpose", place).err.count("internal")
    assert str(place) not in mounted()
    assert other.exists()
    assert served(person) == []

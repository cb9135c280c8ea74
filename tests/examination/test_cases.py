"""For which case: stated, the folder one works in, else the examiner's own log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imgkit.errors import CustodyError, UsageError
from imgkit.examination.cases import choose_case, identity_in, log_path, volatile_notice
from imgkit.examination.examiner import User
from imgkit.linux.files import Identity
from tests.conftest import need

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = 64999


@pytest.fixture
def jane() -> User:
    """Ourselves, without the groups that a test cannot know."""
    return User(os.getuid(), "jane", None, Identity(os.getuid(), os.getgid(), (os.getgid(),)))


@pytest.fixture
def ordinary() -> User:
    """A user who is not root, with one more group."""
    return User(64888, "jane", None, Identity(64888, 64888, (64777, 64888)))


def log_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "custody.jsonl"
    log.write_text("{}\n", encoding="ascii")
    return log


def test_the_stated_case_counts(tmp_path: Path, jane: User, monkeypatch: pytest.MonkeyPatch) -> None:
    stated, around = log_in(tmp_path / "stated"), log_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    for text in (stated, stated.parent, "stated", "stated/custody.jsonl", "./stated/"):
        chosen = choose_case(str(text), jane, "/nowhere", require_case=True)
        assert (chosen.log, chosen.why, chosen.exists) == (str(stated), "stated", True)
        assert chosen.folder == str(stated.parent)
    assert around.exists()


def test_a_stated_case_that_is_none_is_an_error(tmp_path: Path, jane: User) -> None:
    with pytest.raises(CustodyError) as caught:
        choose_case(str(tmp_path), jane, str(tmp_path), require_case=False)
    assert "imgkit case new" in str(caught.value.hint)


def test_a_case_that_may_not_be_seen_is_not_said_to_be_missing(
    tmp_path: Path, jane: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root sees everything: what another user is told is simulated."""

    def refused(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("imgkit.examination.cases.os.lstat", refused)
    with pytest.raises(CustodyError, match="permission denied") as caught:
        log_path(str(tmp_path / "theirs"), jane)
    assert "case new" not in str(caught.value.hint)


def test_the_nearest_log_above_the_working_folder_counts(
    tmp_path: Path, jane: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, inner = log_in(tmp_path), log_in(tmp_path / "a" / "inner")
    (tmp_path / "a" / "inner" / "b" / "c").mkdir(parents=True)
    for folder, log in (("a", outer), ("a/inner", inner), ("a/inner/b/c", inner)):
        monkeypatch.chdir(tmp_path / folder)
        chosen = choose_case(None, jane, "/nowhere", require_case=True)
        assert (chosen.log, chosen.why) == (str(log), "folder")


def test_without_a_case_it_is_the_own_log(
    tmp_path: Path, jane: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "state"
    chosen = choose_case(None, jane, str(state), require_case=False)
    assert (chosen.log, chosen.why, chosen.exists) == (str(state / "custody.jsonl"), "own", False)
    log_in(state)
    assert choose_case(None, jane, str(state), require_case=False).exists
    with pytest.raises(UsageError, match="require one"):
        choose_case(None, jane, str(state), require_case=True)


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_what_is_no_file_is_no_log_of_the_folder(
    tmp_path: Path, jane: User, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real = log_in(tmp_path / "elsewhere")
    outer = log_in(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    if kind == "symlink":
        (work / "custody.jsonl").symlink_to(real)
    elif kind == "directory":
        (work / "custody.jsonl").mkdir()
    else:
        os.mkfifo(work / "custody.jsonl")
    monkeypatch.chdir(work)
    assert choose_case(None, jane, "/nowhere", require_case=True).log == str(outer)


@pytest.mark.parametrize(
    ("owner", "theirs"),
    [
        ((64888, STRANGER), True),  # the user's
        ((STRANGER, 64888), True),  # of their first group
        ((STRANGER, 64777), True),  # of another group of theirs
        ((0, 0), True),  # root's
        ((STRANGER, STRANGER), False),  # planted by somebody else
    ],
)
def test_a_planted_log_is_passed_over(
    tmp_path: Path, ordinary: User, monkeypatch: pytest.MonkeyPatch, owner: tuple[int, int], theirs: bool
) -> None:
    need(os.geteuid() == 0, "needs root")
    outer, inner = log_in(tmp_path), log_in(tmp_path / "inner")
    os.chown(outer, 64888, 64888)
    os.chown(inner, *owner)
    monkeypatch.chdir(tmp_path / "inner")
    chosen = choose_case(None, ordinary, "/nowhere", require_case=True)
    assert chosen.log == str(inner if theirs else outer)


def test_a_log_is_named_by_folder_or_file(tmp_path: Path, jane: User) -> None:
    log = log_in(tmp_path)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(log.read_bytes())
    assert log_path(str(tmp_path), jane) == str(log)
    assert log_path(str(copy), jane) == str(copy)


def test_root_acts_in_a_users_folder_as_that_user(tmp_path: Path) -> None:
    need(os.geteuid() == 0, "needs root")
    assert identity_in(str(tmp_path)) is None
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 64888, 64777)
    for folder in (theirs, theirs / "not" / "yet"):
        identity = identity_in(str(folder))
        assert identity is not None
        assert (identity.uid, identity.gid) == (64888, 64777)


def test_a_volatile_own_log_is_announced(tmp_path: Path) -> None:
    assert volatile_notice("/proc") is None
    need(os.path.ismount("/dev/shm"), "needs tmpfs at /dev/shm")
    assert "tmpfs" in str(volatile_notice("/dev/shm"))

"""Who acts: stated, from imgkit.toml of the invoking user, of the system, or the login name; never from the case."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from imgkit.errors import HostError, UsageError
from imgkit.examination.examiner import (
    Examiner,
    Settings,
    User,
    examiner_of,
    invoking_user,
    load_settings,
    state_folder,
)
from imgkit.linux.files import Identity

if TYPE_CHECKING:
    from pathlib import Path

HOST = socket.gethostname()
ROOT_USER = User(0, "root", "/root", Identity(0, 0))
JANE = Settings(name="Jane Doe", id="jane@lab", role="examiner", organisation="Lab")


def person(home: Path) -> User:
    return User(os.getuid() or 1000, "jdoe", str(home), Identity(os.getuid(), os.getgid()))


def settings(home: Path, own: str | None, system: str | None = None) -> Settings:
    """What imgkit.toml of a user and of a system say together."""
    (home / "config").mkdir()
    if own is not None:
        (home / "config" / "imgkit.toml").write_text(own, encoding="utf-8")
    if system is not None:
        (home / "system.toml").write_text(system, encoding="utf-8")
    variables = {"XDG_CONFIG_HOME": str(home / "config")}
    return load_settings(invoking_user({}), variables, system=str(home / "system.toml"))


@pytest.mark.parametrize(
    ("stated", "name", "own_id"),
    [
        ("Jane Doe <jane@lab>", "Jane Doe", "jane@lab"),
        ("  Jane Doe  < jane@lab >  ", "Jane Doe", "jane@lab"),
        ("Jane Doe", "Jane Doe", f"jdoe@{HOST}"),
        ("<jane@lab>", "jane@lab", "jane@lab"),
        ("Zoë Ångström <zoë@lab>", "Zoë Ångström", "zoë@lab"),
    ],
)
def test_a_stated_examiner(tmp_path: Path, stated: str, name: str, own_id: str) -> None:
    assert examiner_of(stated, Settings(), person(tmp_path)) == Examiner(name, own_id)


@pytest.mark.parametrize(
    "stated", ["", "  ", "Jane <>", "Jane Doe <jane@lab", "Jane> <x>", "<a> <b>", "Jane <a> x"]
)
def test_a_malformed_examiner_is_wrong_usage(tmp_path: Path, stated: str) -> None:
    with pytest.raises(UsageError):
        examiner_of(stated, Settings(), person(tmp_path))


def test_settings_name_the_examiner(tmp_path: Path) -> None:
    who = examiner_of(None, JANE, person(tmp_path))
    assert who == Examiner("Jane Doe", "jane@lab", "examiner", "Lab")
    assert examiner_of(None, JANE, ROOT_USER) == who


def test_what_the_settings_say_of_jane_is_not_said_of_john(tmp_path: Path) -> None:
    assert examiner_of("John Roe", JANE, person(tmp_path)) == Examiner("John Roe", f"jdoe@{HOST}")
    assert examiner_of("Jane Doe", JANE, person(tmp_path)) == Examiner(
        "Jane Doe", "jane@lab", "examiner", "Lab"
    )


def test_without_a_word_it_is_the_login_name(tmp_path: Path) -> None:
    assert examiner_of(None, Settings(), person(tmp_path)) == Examiner("jdoe", f"jdoe@{HOST}")


def test_root_is_nobody() -> None:
    assert examiner_of(None, Settings(), ROOT_USER) is None


def test_the_users_settings_count_before_the_systems(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        'name = "Jane Doe"\nalgorithms = ["sha512"]\n',
        'name = "Nobody"\nid = "nobody@lab"\nrequire_case = true\nalgorithms = ["md5"]\n',
    )
    assert (found.name, found.id) == ("Jane Doe", "nobody@lab")
    assert found.algorithms == ("sha512",)
    assert found.require_case


def test_no_settings_are_no_error(tmp_path: Path) -> None:
    assert settings(tmp_path, None) == Settings()


@pytest.mark.parametrize(
    "text",
    [
        "nme = 'Jane'",
        "name = 5",
        "name = ' '",
        "require_case = 'yes'",
        "algorithms = 'md5'",
        "algorithms = [5]",
        "algorithms = ['sha257']",
        "name",
        "[examiner]\nname = 'Jane'",
        "name = '\udcff'",
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "imgkit.toml").write_bytes(os.fsencode(text))
    with pytest.raises(UsageError, match=r"imgkit\.toml"):
        load_settings(
            invoking_user({}), {"XDG_CONFIG_HOME": str(tmp_path / "config")}, system=str(tmp_path / "none")
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="as root a login uid counts")
def test_without_root_sudo_uid_says_nothing() -> None:
    assert invoking_user({"SUDO_UID": "0"}).uid == os.getuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("sudo_uid", "uid"), [("65534", 65534), ("0", 0), ("x", 0), ("-1", 0), ("", 0)])
def test_behind_sudo_it_is_who_typed_it(monkeypatch: pytest.MonkeyPatch, sudo_uid: str, uid: int) -> None:
    monkeypatch.setattr("imgkit.examination.examiner._login_uid", lambda: 0)
    assert invoking_user({"SUDO_UID": sudo_uid}).uid == uid


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_login_uid_counts_before_sudo_uid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgkit.examination.examiner._login_uid", lambda: 65534)
    found = invoking_user({"SUDO_UID": "1"})
    assert (found.uid, found.name) == (65534, "nobody")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_user_that_the_host_does_not_know_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgkit.examination.examiner._login_uid", lambda: 0)
    found = invoking_user({"SUDO_UID": "3999999999", "SUDO_GID": "3999999998", "HOME": "/nowhere"})
    assert (found.uid, found.name) == (3999999999, "3999999999")
    assert found.home is None  # HOME may be root's
    assert found.identity == Identity(3999999999, 3999999998, (3999999998,))


def test_the_state_folder(tmp_path: Path) -> None:
    jane = person(tmp_path)
    assert state_folder(jane, {"XDG_STATE_HOME": "/var/tmp/state"}) == "/var/tmp/state/imgkit"
    assert state_folder(jane, {}) == str(tmp_path / ".local/state/imgkit")
    assert state_folder(ROOT_USER, {}) == "/var/lib/imgkit"


def test_nowhere_to_remember_is_an_error_with_a_hint(tmp_path: Path) -> None:
    homeless = User(1000, "jdoe", str(tmp_path / "none"), Identity(1000, 1000))
    with pytest.raises(HostError) as caught:
        state_folder(homeless, {})
    assert "XDG_STATE_HOME" in str(caught.value.hint)

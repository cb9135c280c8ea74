"""Who acts, for which case: options, variables, settings, the folder, and nobody for root."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import need

if TYPE_CHECKING:
    from tests.cli.running import Done, Imgkit

HOST = socket.gethostname()
NOBODY: dict[str, str | None] = {"IMGKIT_EXAMINER": None}


def settings(imgkit: Imgkit, text: str) -> None:
    folder = imgkit.base / "config"
    folder.mkdir(exist_ok=True)
    (folder / "imgkit.toml").write_text(text, encoding="utf-8")


def actor(imgkit: Imgkit, log: Path | None = None) -> dict[str, Any]:
    """Who acted last."""
    found: dict[str, Any] = imgkit.records(log)[-1]["actor"]
    return found


def told(done: Done) -> str:
    """The line on stderr that says for which case and by whom."""
    found = [line for line in done.err.splitlines() if re.search(r", as .*, line \d+$", line)]
    assert len(found) == 1, done.err
    return found[0]


def test_the_option_counts_before_variable_and_settings(imgkit: Imgkit) -> None:
    settings(imgkit, 'name = "Settings"\nid = "settings@lab"')
    image = imgkit.image()
    done = imgkit("hash", image, "--examiner", "Option <option@lab>").ended(0)
    assert actor(imgkit) == {"name": "Option", "id": "option@lab"}
    assert told(done) == "own log, as Option <option@lab>, line 2"
    imgkit("hash", image, env={"IMGKIT_EXAMINER": "Variable <variable@lab>"}).ended(0)
    assert actor(imgkit) == {"name": "Variable", "id": "variable@lab"}
    imgkit("hash", image, env=NOBODY).ended(0)
    assert actor(imgkit) == {"name": "Settings", "id": "settings@lab"}


def test_role_and_organisation_are_recorded(imgkit: Imgkit) -> None:
    settings(imgkit, 'name = "Jane Doe"\nid = "jane@lab"\nrole = "lead"\norganisation = "Lab"')
    imgkit("hash", imgkit.image(), env=NOBODY).ended(0)
    assert actor(imgkit) == {"name": "Jane Doe", "id": "jane@lab", "role": "lead", "org": "Lab"}


def test_a_name_alone_gets_user_and_host_as_id(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image(), "--examiner", "Jane Doe").ended(0)
    assert actor(imgkit)["id"].endswith(f"@{HOST}")


def test_the_examiner_is_never_the_cases(imgkit: Imgkit) -> None:
    case = imgkit.case("case", "--lead", "Somebody Else")
    imgkit.image()
    imgkit("hash", "disk.dd", "--case", case, "--examiner", "Option <option@lab>").ended(0)
    assert actor(imgkit, case / "custody.jsonl") == {"name": "Option", "id": "option@lab"}


@pytest.mark.parametrize(
    ("text", "word"),
    [("nme = 'x'", "nme"), ("name = 5", "name"), ("name =", "TOML"), ("algorithms = ['sha257']", "sha257")],
)
def test_a_wrong_setting_is_wrong_usage_and_named(imgkit: Imgkit, text: str, word: str) -> None:
    settings(imgkit, text)
    done = imgkit("hash", imgkit.image()).ended(2)
    assert word in done.errors[0]
    assert "imgkit.toml" in done.errors[0]
    assert not imgkit.own_log.exists()


def test_algorithms_of_the_settings_are_the_default(imgkit: Imgkit) -> None:
    settings(imgkit, 'algorithms = ["sha512", "MD5"]')
    (entry,) = imgkit("hash", imgkit.image(), "--json").ended(0).json["images"]
    assert set(entry["digests"]) == {"sha512", "md5"}
    (entry,) = imgkit("hash", "disk.dd", "-a", "sha1", "--json").ended(0).json["images"]
    assert set(entry["digests"]) == {"sha1"}


def test_require_case(imgkit: Imgkit) -> None:
    settings(imgkit, "require_case = true")
    image = imgkit.image()
    done = imgkit("hash", image).ended(2)
    assert "--case" in done.err
    assert not imgkit.own_log.exists()
    case = imgkit.case()
    imgkit("hash", image, "--case", case).ended(0)
    imgkit("hash", image, cwd=case).ended(0)
    imgkit("hash", image, env={"IMGKIT_CASE": str(case)}).ended(0)


def test_root_with_nothing_stated_is_wrong_usage(imgkit: Imgkit) -> None:
    need(os.geteuid() == 0, "needs root")
    need(not os.path.exists("/etc/imgkit.toml"), "this host names an examiner in /etc/imgkit.toml")
    need(Path("/proc/self/loginuid").read_text(encoding="ascii") == "4294967295", "somebody has logged in")
    image = imgkit.image()
    for words in (
        ("hash", image),
        ("detach", "--all"),
        ("case", "new", "case"),
        ("selftest", "--examiner", ""),
    ):
        done = imgkit(*words, env=NOBODY).ended(2)
        assert "--examiner" in done.err
    assert not imgkit.own_log.exists()
    assert not (imgkit.folder / "case").exists()
    for name in ("status", "doctor"):
        imgkit(name, env=NOBODY).ended(0)


def test_demo_and_selftest_name_themselves(imgkit: Imgkit) -> None:
    imgkit("selftest", "--json", env=NOBODY).ended(0)
    assert actor(imgkit) == {"name": "imgkit selftest", "id": "selftest@imgkit"}
    log = imgkit.own_log.read_bytes()
    imgkit("demo", "--json", env=NOBODY).ended(0)
    assert imgkit.own_log.read_bytes() == log  # the tour has a log of its own


def test_the_folder_one_works_in_is_the_case(imgkit: Imgkit) -> None:
    case = imgkit.case("case", "--number", "2026-0142")
    image = imgkit.image()
    work = case / "work" / "deep"
    work.mkdir(parents=True)
    done = imgkit("hash", image, cwd=work).ended(0)
    assert told(done) == "case 2026-0142, as Jane Doe <jane@lab.example>, line 2"
    assert not imgkit.own_log.exists()


def test_a_case_without_a_number_is_named_after_its_folder(imgkit: Imgkit) -> None:
    case = imgkit.case("smith-laptop")
    assert told(imgkit("hash", imgkit.image(), "--case", case).ended(0)).startswith("case smith-laptop, as ")


def test_the_option_counts_before_the_variable_before_the_folder(imgkit: Imgkit) -> None:
    one, two, three = (imgkit.case(name) for name in ("one", "two", "three"))
    image = imgkit.image()
    env: dict[str, str | None] = {"IMGKIT_CASE": str(two)}
    assert told(imgkit("hash", image, "--case", one, cwd=three, env=env)).startswith("case one")
    assert told(imgkit("hash", image, cwd=three, env=env)).startswith("case two")
    assert told(imgkit("hash", image, cwd=three)).startswith("case three")
    assert told(imgkit("hash", image)).startswith("own log")


def test_a_planted_log_of_somebody_else_is_ignored(imgkit: Imgkit) -> None:
    need(os.geteuid() == 0, "needs root")
    case = imgkit.case("planted")
    os.chown(case / "custody.jsonl", 64999, 64999)
    before = (case / "custody.jsonl").read_bytes()
    assert told(imgkit("hash", imgkit.image(), cwd=case).ended(0)).startswith("own log")
    assert (case / "custody.jsonl").read_bytes() == before


def test_a_symlink_is_no_case_of_the_folder(imgkit: Imgkit) -> None:
    case = imgkit.case()
    (imgkit.folder / "custody.jsonl").symlink_to(case / "custody.jsonl")
    assert told(imgkit("hash", imgkit.image()).ended(0)).startswith("own log")
    assert len(imgkit.records(case / "custody.jsonl")) == 1


def test_the_own_log_is_made_at_first_use_for_its_owner_alone(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image()).ended(0)
    assert imgkit.records()[0]["type"] == "log.opened"
    folder = imgkit.own_log.parent
    assert folder.stat().st_mode & 0o077 == 0
    assert imgkit.own_log.stat().st_mode & 0o077 == 0
    imgkit("log", "verify").ended(0)


def test_a_volatile_own_log_is_announced(imgkit: Imgkit) -> None:
    need(os.path.ismount("/dev/shm"), "needs tmpfs at /dev/shm")
    place = Path("/dev/shm") / f"imgkit-{os.getpid()}"
    env: dict[str, str | None] = {"XDG_STATE_HOME": str(place)}
    try:
        done = imgkit("hash", imgkit.image(), env=env).ended(0)
    finally:
        import shutil

        shutil.rmtree(place)
    assert "tmpfs" in done.err
    assert "--case" in done.err
    assert "tmpfs" not in imgkit("hash", "disk.dd").err


def test_the_first_sight_of_an_image_makes_it_an_exhibit(imgkit: Imgkit) -> None:
    case = imgkit.case()
    imgkit.env["IMGKIT_CASE"] = str(case)
    one, two = imgkit.image("one.dd"), imgkit.image("two.dd", b"two" * 512)
    for path, name in ((one, "EX1"), (two, "EX2"), (one, "EX1")):
        assert imgkit("info", path, "--json").json["exhibit"] == name
    moved = imgkit.folder / "moved.dd"
    one.rename(moved)
    assert imgkit("info", moved, "--json").json["exhibit"] == "EX1"
    added = [
        item["exhibit"] for item in imgkit.records(case / "custody.jsonl") if item["type"] == "evidence.added"
    ]
    assert added == ["EX1", "EX1", "EX2", "EX2"]


def test_a_stated_exhibit_is_the_one(imgkit: Imgkit) -> None:
    one, copy = imgkit.image("one.dd"), imgkit.image("copy.dd")
    imgkit("hash", one).ended(0)
    done = imgkit("verify", copy, "--exhibit", "EX1", "--json").ended(0)
    (entry,) = done.json["images"]
    assert entry["verdict"] == "unchanged"
    assert len({record.get("exhibit") for record in imgkit.records()[1:]}) == 1


def test_the_reason_is_recorded(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image(), "--reason", "asked by court").ended(0)
    (intent, _) = (record for record in imgkit.records() if record["type"] == "evidence.hashed")
    assert intent["reason"] == "asked by court"
    assert "reason: asked by court" in imgkit("log", "show").out


def test_paths_in_records_are_absolute(imgkit: Imgkit) -> None:
    imgkit.image()
    imgkit("hash", "./disk.dd").ended(0)
    files = [record["data"]["files"] for record in imgkit.records() if "files" in record["data"]]
    assert {item["path"] for found in files for item in found} == {str(imgkit.folder / "disk.dd")}


def test_secrets_do_not_reach_the_log(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image(), "--reason", "see https://jane:s3cret@lab/ticket").ended(0)
    assert "s3cret" not in str([record.get("env") for record in imgkit.records()])


def test_a_folder_that_is_gone_is_an_error_and_no_crash(imgkit: Imgkit) -> None:
    image = imgkit.image()
    gone = imgkit.folder / "gone"
    gone.mkdir()
    import subprocess

    from tests.cli.running import COMMAND

    script = f'cd "{gone}" && rmdir "{gone}" && exec "{COMMAND}" hash "{image}"'
    done = subprocess.run(["bash", "-c", script], env=imgkit.env, capture_output=True, check=False)
    assert done.returncode in {0, 3}
    assert b"Traceback" not in done.stderr
    assert b"internal" not in done.stderr

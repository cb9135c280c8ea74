"""Signing the log from the command line: with whose key, when, and what is said where nothing signs."""

from __future__ import annotations

import errno
import os
import select
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.custody.keys import agent, certify, make_key, public, ssh_keygen

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit

JANE = "jane@lab.example"  # the id of the examiner of these tests
CANARY = "canary-8c1f passphrase"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "id")


def settings(imgkit: Imgkit, text: str) -> None:
    folder = imgkit.base / "config"
    folder.mkdir(exist_ok=True)
    (folder / "imgkit.toml").write_text(text, encoding="utf-8")


def points(imgkit: Imgkit, case: Path) -> list[dict[str, Any]]:
    """What the log records of its checkpoints."""
    records = imgkit.records(case / "custody.jsonl")
    return [record["data"] for record in records if record["type"] == "log.checkpointed"]


def test_what_it_says(imgkit: Imgkit, key: Path) -> None:
    case = imgkit.case("case", "--number", "2026-0142")
    done = imgkit("log", "checkpoint", case, "--signer", key, "--reason", "weekly").ended(0)
    (point,) = points(imgkit, case)
    shown = ssh_keygen("-l", "-f", key).stdout.decode().split()[1]
    log = imgkit.records(case / "custody.jsonl")[0]["log"]
    receipt = f"imgkit-receipt/1 {log} 1 {point['bytes']} {point['head']} {point['file']}"
    assert done.lines == [
        "checkpoint  1, recorded at line 2",
        f"lines       1 to 1, {point['bytes']} bytes",
        f"head        {point['head']}",
        f"signed by   {JANE}, {shown}",
        f"receipt     {receipt}",
    ]
    assert point["reason"] == "weekly"
    words: list[str | Path] = [
        "-Y",
        "verify",
        "-f",
        case / "allowed_signers",
        "-I",
        JANE,
        "-n",
        "custody@imgkit",
    ]
    place = case / "checkpoints"
    ssh_keygen(*words, "-s", place / "000001.txt.sig", stdin=(place / "000001.txt").read_bytes())
    subprocess.run(["sha256sum", "--quiet", "-c", "000001.sums"], cwd=place, check=True)


def test_the_document(imgkit: Imgkit, key: Path) -> None:
    case = imgkit.case()
    document = imgkit("log", "checkpoint", case, "--signer", key, "--json").ended(0).json
    body = dict(
        line.split(": ", 1) for line in (case / "checkpoints/000001.txt").read_text().splitlines()[1:]
    )
    assert document["schema"] == "imgkit.log.checkpoint.v1"
    for name in ("log", "head", "file", "merkle", "prev", "time", "signer", "reason"):
        assert document[name] == body[name]
    assert [str(document[name]) for name in ("n", "size", "bytes")] == [
        body["n"],
        body["size"],
        body["bytes"],
    ]
    assert document["receipt"].split()[1:] == [
        body[name] for name in ("log", "size", "bytes", "head", "file")
    ]
    assert document["files"] == [
        str(case / "checkpoints" / f"000001{end}") for end in (".txt", ".txt.sig", ".sums")
    ]
    assert (document["signed"], document["line"], document["notices"]) == (True, 2, [])
    assert document["records"] == {"log": document["log"], "seq": [2, 2]}


def test_unsigned_is_said(imgkit: Imgkit, key: Path) -> None:
    case = imgkit.case()
    assert "signed by   nobody: UNSIGNED" in imgkit("log", "checkpoint", case).ended(0).lines
    settings(imgkit, f'signer = "{key}"\n')
    document = imgkit("log", "checkpoint", case, "--signer", "-", "--json").ended(0).json
    assert (document["signed"], document["signer"], document["fingerprint"]) == (False, None, None)
    missing = imgkit("log", "checkpoint", case, "--signer", "missing").ended(0)
    assert "signed by   nobody: UNSIGNED" in missing.lines
    assert "checkpoint 3 is UNSIGNED: ssh-keygen did not sign with" in missing.err


def test_option_before_variable_before_settings(imgkit: Imgkit, tmp_path: Path) -> None:
    case = imgkit.case()
    made = {name: make_key(tmp_path / name) for name in ("option", "variable", "settings")}
    settings(imgkit, f'signer = {{principal = "settings@lab", key = "{made["settings"]}"}}\n')
    variable: dict[str, str | None] = {"IMGKIT_SIGNER": f"variable@lab={made['variable']}"}
    by_option = imgkit(
        "log", "checkpoint", case, "--signer", f"option@lab={made['option']}", "--json", env=variable
    )
    documents = {
        "option": by_option.ended(0).json,
        "variable": imgkit("log", "checkpoint", case, "--json", env=variable).ended(0).json,
        "settings": imgkit("log", "checkpoint", case, "--json").ended(0).json,
    }
    for name, document in documents.items():
        assert document["signer"] == f"{name}@lab"
        assert document["fingerprint"] == ssh_keygen("-l", "-f", made[name]).stdout.decode().split()[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('signer = "id_ed25519"', "relative path"),
        ('signer = ""', "signer cannot be"),
        ("signer = 7", "signer cannot be"),
        ('signer = {principal = "x"}', "signer cannot be"),
        ('signer = {key = "/k", pin = "1234"}', "signer cannot be"),
        ('signer = {key = "/k", principal = "a b"}', "cannot sign"),
    ],
)
def test_settings_that_make_no_sense(imgkit: Imgkit, text: str, said: str) -> None:
    case = imgkit.case()
    settings(imgkit, text + "\n")
    done = imgkit("log", "checkpoint", case).ended(2)
    assert said in done.errors[0]
    assert points(imgkit, case) == []


@pytest.mark.parametrize("text", ["", "  ", "=key", "jane@lab="])
def test_options_that_make_no_sense(imgkit: Imgkit, text: str) -> None:
    imgkit("log", "checkpoint", imgkit.case(), "--signer", text).ended(2)


def test_the_home_of_the_settings(imgkit: Imgkit) -> None:
    home = imgkit.base / "home" / ".ssh"
    home.mkdir(parents=True)
    make_key(home / "id_ed25519")
    settings(imgkit, 'signer = "~/.ssh/id_ed25519"\n')
    case = imgkit.case()
    done = imgkit("log", "checkpoint", case, "--json").ended(0).json
    if not done["signed"]:  # the home is that of the account, whatever HOME says
        assert os.path.expanduser(f"~{os.environ.get('USER', 'root')}") in done["notices"][0]


def test_an_agent_and_a_certificate(imgkit: Imgkit, tmp_path: Path, key: Path) -> None:
    ca = make_key(tmp_path / "ca")
    certificate = certify(ca, key, principal=JANE)
    case = imgkit.case()
    with agent(tmp_path, key) as socket:
        key.unlink()
        words = ("log", "checkpoint", case, "--signer", certificate, "--json")
        document = imgkit(*words, env={"SSH_AUTH_SOCK": socket}).ended(0).json
    assert document["signed"]
    assert (case / "allowed_signers").read_text() == f"{JANE} cert-authority {public(ca)}\n"
    assert (
        "SSH_AUTH_SOCK is not set" in imgkit("log", "checkpoint", case, "--signer", certificate).ended(0).err
    )


# -- the policy of a case ------------------------------------------------------------------------------


def test_a_case_asks_for_one_at_each_command(imgkit: Imgkit, key: Path) -> None:
    imgkit.env["IMGKIT_SIGNER"] = str(key)
    case = imgkit.case("case", "--checkpoint", "each-command")
    imgkit.env["IMGKIT_CASE"] = str(case)
    image = imgkit.image()
    imgkit("hash", image).ended(0)
    imgkit("verify", image, "--expect", "md5:" + "0" * 32).ended(1)
    imgkit("case", "note", "seal intact").ended(0)
    opening, *others = imgkit.records(case / "custody.jsonl")
    assert opening["data"]["policy"] == {"checkpoint": "each command"}
    found = points(imgkit, case)
    assert [(point["n"], point["reason"], "signature" in point) for point in found] == [
        (number, "command", True) for number in range(1, 5)
    ]
    assert others[-1]["type"] == "log.checkpointed"
    for words in (("case", "show"), ("log", "show"), ("log", "verify")):
        imgkit(*words).ended(0)
    assert len(points(imgkit, case)) == 4, "who only looks makes none"
    imgkit("log", "checkpoint").ended(0)
    assert len(points(imgkit, case)) == 5, "one is enough"
    assert "policy  checkpoint: each command" in imgkit("case", "show").out


def test_a_case_asks_for_none(imgkit: Imgkit) -> None:
    for name, words in (("one", ()), ("two", ("--checkpoint", "hand-over"))):
        case = imgkit.case(name, *words)
        imgkit("case", "note", "seal intact", "--case", case).ended(0)
        assert points(imgkit, case) == []
    assert (
        "takes each-command or hand-over"
        in imgkit("case", "new", "three", "--checkpoint", "daily").ended(2).err
    )
    assert not (imgkit.folder / "three").exists()


@pytest.mark.live
@pytest.mark.usefixtures("live")
def test_taking_down_ends_with_a_checkpoint_too(imgkit: Imgkit, key: Path) -> None:
    imgkit.env["IMGKIT_SIGNER"] = str(key)
    case = imgkit.case("case", "--checkpoint", "each-command")
    device = imgkit("attach", imgkit.image(), "--case", case).ended(0).out.strip()
    try:
        before = len(points(imgkit, case))
    finally:
        imgkit("detach", device).ended(0)
    records = imgkit.records(case / "custody.jsonl")
    assert [record["type"] for record in records[-2:]] == ["evidence.detached", "log.checkpointed"]
    assert [before, len(points(imgkit, case))] == [2, 3]
    assert "signature" in records[-1]["data"]


@pytest.mark.parametrize(
    "signer", ["/nonexistent", "a b=/k", "", None], ids=["key", "principal", "empty", "none"]
)
def test_the_policy_fails_no_command(imgkit: Imgkit, signer: str | None) -> None:
    case = imgkit.case("case", "--checkpoint", "each-command")
    done = imgkit(
        "case", "note", "seal intact", "--case", case, "--json", env={"IMGKIT_SIGNER": signer}
    ).ended(0)
    assert done.json["records"]["seq"] == [3, 3]
    if signer is not None and signer != "":
        assert "checkpoint" in done.err.splitlines()[-1]


def test_a_checkpoint_that_cannot_be_kept_fails_no_command(imgkit: Imgkit) -> None:
    case = imgkit.case("case", "--checkpoint", "each-command")
    (case / "checkpoints" / "000002.txt").write_text("in the way\n")
    done = imgkit("case", "note", "seal intact", "--case", case).ended(0)
    assert "no checkpoint at the end of this command" in done.err
    assert "is there already" in imgkit("log", "checkpoint", case).ended(3).errors[0]


# -- passphrases ---------------------------------------------------------------------------------------


def written(imgkit: Imgkit, said: str) -> bool:
    """Whether a passphrase is in anything that was written."""
    found = [
        path
        for path in imgkit.base.rglob("*")
        if stat.S_ISREG(path.lstat().st_mode) and said.encode() in path.read_bytes()
    ]
    return bool(found)


def test_nobody_is_asked_for_a_passphrase_without_a_terminal(imgkit: Imgkit) -> None:
    key = make_key(imgkit.base / "locked", passphrase=CANARY)
    case = imgkit.case()
    askpass = imgkit.base / "askpass"
    askpass.write_text("#!/bin/sh\necho wrong\n")
    askpass.chmod(0o755)
    asking: dict[str, str | None] = {
        "SSH_ASKPASS": str(askpass),
        "SSH_ASKPASS_REQUIRE": "force",
        "DISPLAY": ":0",
    }
    done = imgkit("log", "checkpoint", case, "--signer", key, env=asking, stdin=f"{CANARY}\n".encode()).ended(
        0
    )
    assert "it has a passphrase, and nobody is at a terminal" in done.err
    assert "nobody: UNSIGNED" in done.out
    assert CANARY not in done.out + done.err


def typing(imgkit: Imgkit, words: tuple[str, ...], passphrase: str) -> str:
    """What a run shows on a terminal of its own, where the passphrase is typed once it is asked for."""
    leader, follower = os.openpty()
    imgkit.command = (
        "setsid",
        "-c",
        "-w",
        *imgkit.command,
    )  # the terminal becomes the one the command belongs to
    shown, asked = b"", False
    with imgkit.popen(*words, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        try:
            while select.select([leader], [], [], 20)[0] and (piece := os.read(leader, 65536)):
                shown += piece
                if not asked and b"passphrase" in shown:
                    asked = True
                    os.write(leader, f"{passphrase}\n".encode())
        except OSError as error:
            assert error.errno == errno.EIO  # noqa: PT017  (how Linux says that the other side is closed)
        finally:
            os.close(leader)  # hangs up on whoever still waits
    assert process.returncode == 0, shown
    return shown.decode()


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_a_passphrase_is_typed_at_a_terminal(imgkit: Imgkit, *, right: bool) -> None:
    key = make_key(imgkit.base / "locked", passphrase=CANARY)
    case = imgkit.case()
    typed = CANARY if right else CANARY.upper()
    shown = typing(imgkit, ("log", "checkpoint", str(case), "--signer", str(key)), typed)
    assert "Enter passphrase" in shown
    assert ("signed by   jane@lab.example" if right else "UNSIGNED") in shown
    assert typed not in shown
    assert not written(imgkit, typed)
    assert ("signature" in points(imgkit, case)[0]) is right

"""A passphrase goes through everything that could take one, then everything that was written is searched for it.

Text that an examiner states (a note, a reason, the name of a file) is recorded as stated; that is what it is for. Secrets
are what unlocks a key, and what is given to an option that sounds like one, to the environment, or to standard input.
"""

from __future__ import annotations

import base64
import errno
import os
import select
import socket
from typing import TYPE_CHECKING, Any

import pytest
import typer

from imgkit.cli.app import COMMANDS, build_app
from tests.custody.keys import agent, make_key, public

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.running import Imgkit

CANARY = "canary-5d0b9e passphrase"
FORMS = (
    CANARY.encode(), CANARY.upper().encode(), base64.b64encode(CANARY.encode())[:-2], CANARY.encode().hex().encode(),
    CANARY.encode("utf-16-le"), CANARY.replace(" ", "%20").encode(), CANARY.replace(" ", "+").encode(),
)  # fmt: skip
SECRETS = ("PASSWORD", "PASSPHRASE", "KEY", "TOKEN", "PIN", "RECOVERY_KEY", "SECRET")


def leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not hasattr(command, "commands"):
        yield words
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, (*words, name))


ALL = [
    words
    for name in COMMANDS
    for words in leaves(typer.main.get_command(build_app([name])).commands[name], (name,))  # type: ignore[attr-defined]
]


@pytest.fixture
def desk(imgkit: Imgkit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imgkit]:
    """Every way around the command line holds the canary; at the end no file that was written does."""
    outside = tmp_path_factory.mktemp("outside")  # the test's own files, which may hold it
    askpass = outside / "askpass"
    askpass.write_text(f"#!/bin/sh\ntouch '{outside}/asked'\necho '{CANARY}'\n")
    askpass.chmod(0o755)
    imgkit.env |= {f"IMGKIT_{name}": CANARY for name in SECRETS}
    imgkit.env |= {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    imgkit.env |= {"TMPDIR": str(imgkit.base / "tmp"), "SSH_KEY_PASSPHRASE": CANARY}
    imgkit.env |= dict.fromkeys(("http_proxy", "HTTPS_PROXY"), f"http://jane:{CANARY}@127.0.0.1:9/")
    (imgkit.base / "tmp").mkdir()
    (imgkit.base / "config").mkdir(exist_ok=True)
    yield imgkit
    assert not (outside / "asked").exists()
    assert searched(imgkit.base) > 0


def searched(folder: Path) -> int:
    """Search every file, and every name; return how many there were."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    found = [(path, form) for path in files for form in FORMS if form in path.read_bytes()]
    assert found == []
    assert not [path for path in folder.rglob("*") if CANARY in path.name]
    return len(files)


def run(desk: Imgkit, *words: str | Path, codes: tuple[int, ...] = (0,), **env: str | None) -> str:
    """Run a command that has the canary on its standard input; it shows nothing of it."""
    done = desk(*words, stdin=f"{CANARY}\n".encode() * 3, env=env)
    assert done.code in codes, (words, done)
    assert not any(form.decode("latin-1") in done.out + done.err for form in FORMS)
    return done.out


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_no_command_takes_a_secret_or_says_it_again(desk: Imgkit, words: tuple[str, ...]) -> None:
    run(desk, *words, f"--passphrase={CANARY}", "--password", CANARY, codes=(2,))
    (desk.base / "work" / "x").touch()


def test_all_that_is_written_over_a_whole_case(desk: Imgkit, tmp_path: Path) -> None:
    """A locked key, an agent, an authority: every command that writes, with the canary wherever one could be."""
    key = make_key(tmp_path / "locked", passphrase=CANARY)
    disk = desk.image("disk.dd", os.urandom(5000))
    here = ("--case", "case")
    run(desk, "case", "new", "case", "--number", "7", "--checkpoint", "each-command", IMGKIT_SIGNER=str(key))
    for words in (
        ("case", "add", disk, *here, "--description", "a disk"),
        ("hash", disk, *here),
        ("partitions", disk, *here),
        ("case", "note", "seal intact", "--exhibit", "EX1", *here),
        ("log", "checkpoint", "case", "--signer", key),
        ("log", "receipt", "case", "--no-qr", "--signer", key),
        ("case", "report", "--format", "html", "-o", "report.html", *here),
        ("log", "show", "case", "--json"),
        ("log", "disclose", "case", "--exhibit", "EX1", "-o", "disclosed"),
        ("log", "disclose", "--check", "disclosed"),
        ("log", "compare", "case", "case"),
        ("log", "verify", "case", "--evidence", "."),
        ("case", "show", *here),
        ("status",),
        ("doctor",),
        ("case", "transfer", "--to", "Bob <bob@court>", "-o", "bag", *here, "--signer", key),
        ("case", "seal", *here, "--reason", "done", "--signer", key),
    ):
        run(desk, *words, codes=(0, 3) if words[0] == "doctor" else (0,), IMGKIT_SIGNER=str(key))
    checkpoints = list((desk.folder / "case" / "checkpoints").iterdir())
    assert checkpoints
    assert not [path for path in checkpoints if path.suffix == ".sig"]  # nobody could unlock the key


def test_an_agent_signs_and_an_authority_is_asked(desk: Imgkit, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    with agent(tmp_path, key) as path, socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # bound, and nobody listens: refused at once
        port = server.getsockname()[1]
        run(desk, "case", "new", "case")
        pub = tmp_path / "held.pub"
        pub.write_text(public(key) + "\n")
        run(desk, "log", "checkpoint", "case", "--signer", pub, SSH_AUTH_SOCK=path)
        for url in (f"http://jane:{CANARY}@127.0.0.1:{port}/", f"http://{CANARY}@127.0.0.1:{port}/"):
            desk("log", "timestamp", "case", "--url", url.replace(" ", "")).ended(2)
        token = CANARY.replace(" ", "%20")
        done = desk("log", "timestamp", "case", "--url", f"http://127.0.0.1:{port}/tsr?token={token}")
        assert done.code == 3, done
    assert list((desk.folder / "case" / "checkpoints").glob("*.sig"))


def test_a_secret_in_an_argument_list_is_replaced_in_the_log(desk: Imgkit) -> None:
    """What the shell handed to the program, as far as it can be known for a secret: the record of a run has its argv."""
    run(desk, "case", "new", "case", "--title", "https://jane:pass@tsa.example/?key=pass")
    text = (desk.folder / "case" / "custody.jsonl").read_text()
    assert "https://[removed]@tsa.example/?[removed]" in text


def typing(desk: Imgkit, words: tuple[str, ...], passphrase: str) -> str:
    """What a run shows on a terminal that it belongs to, where the passphrase is typed at each question."""
    leader, follower = os.openpty()
    desk.command = ("setsid", "-c", "-w", *desk.command[-1:])
    shown, answered = b"", 0
    with desk.popen(*words, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        try:
            while select.select([leader], [], [], 30)[0] and (piece := os.read(leader, 65536)):
                shown += piece
                if shown.count(b"Enter passphrase") > answered:
                    answered += 1
                    os.write(leader, f"{passphrase}\n".encode())
        except OSError as error:
            assert error.errno == errno.EIO  # noqa: PT017  (how Linux says that the other side is closed)
        finally:
            os.close(leader)
    assert process.returncode == 0, shown
    assert answered > 0, shown
    assert passphrase.encode() not in shown
    return shown.decode()


@pytest.mark.parametrize(
    "words",
    [
        ("log", "checkpoint", "case"),
        ("log", "receipt", "case", "--no-qr"),
        ("hash", "disk.dd", "--case", "case"),
        ("case", "seal", "--case", "case"),
        ("case", "transfer", "--to", "Bob <bob@court>", "-o", "bag", "--case", "case"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_is_typed_at_the_prompt_of_each_command_that_signs(
    desk: Imgkit, tmp_path: Path, words: tuple[str, ...]
) -> None:
    key = make_key(tmp_path / "locked", passphrase=CANARY)
    disk = desk.image("disk.dd", os.urandom(5000))
    policy = "each-command" if words[0] == "hash" else "hand-over"
    run(desk, "case", "new", "case", "--checkpoint", policy)
    run(desk, "case", "add", disk, "--case", "case")
    desk.env["IMGKIT_SIGNER"] = str(key)
    typing(desk, words, CANARY)
    signatures = list((desk.folder / "case" / "checkpoints").glob("*.sig"))
    assert signatures
    searched(desk.base)

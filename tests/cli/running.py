"""Imgkit: the installed command, run as a user would run it, in a world of its own."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import termios
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = os.path.join(os.path.dirname(sys.executable), "imgkit")
EXAMINER = "Jane Doe <jane@lab.example>"


@dataclass(frozen=True, slots=True)
class Done:
    """What a run left: exit code and both streams; a stream that is no UTF-8 keeps its bytes as surrogates."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document of `--json`; anything beside it fails here."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def errors(self) -> list[str]:
        """The error lines."""
        return [line for line in self.err.splitlines() if line.startswith("imgkit: error: ")]

    def ended(self, code: int) -> Done:
        """Itself, if the exit code is this one."""
        assert self.code == code, f"exit {self.code}, not {code}\n{self.out}\n{self.err}"
        return self


@dataclass(frozen=True, slots=True)
class User:
    """An account of this host."""

    name: str
    uid: int
    gid: int
    home: Path


class Imgkit:
    """Call it with the words of a command line.

    Attributes:
        folder: Where commands run: empty at first.
        env: Of every run; XDG folders and HOME lie in the test's own folder.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder = base / "work"
        self.folder.mkdir()
        self.user: User | None = None
        self.command: tuple[str, ...] = (COMMAND,)
        kept = ("PATH", "LANG", "LC_ALL", "TZ")
        self.env = {name: os.environ[name] for name in kept if name in os.environ}
        self.env |= {
            "HOME": str(base / "home"),
            "XDG_STATE_HOME": str(base / "state"),
            "XDG_CONFIG_HOME": str(base / "config"),
            "IMGKIT_EXAMINER": EXAMINER,
        }

    def arguments(self, words: tuple[str | bytes | os.PathLike[str], ...]) -> list[bytes]:
        return [os.fsencode(word) for word in (*self.command, *words)]

    def popen(self, *words: str | bytes | os.PathLike[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a command and let it run."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        extra: dict[str, str | None] = options.pop("env", {})
        env = {**self.env, **extra}
        options.setdefault("cwd", self.folder)
        if self.user is not None:
            options |= {"user": self.user.uid, "group": self.user.gid, "extra_groups": []}
        return subprocess.Popen(
            self.arguments(words),
            env={name: value for name, value in env.items() if value is not None},
            **options,
        )

    def __call__(
        self,
        *words: str | bytes | os.PathLike[str],
        env: dict[str, str | None] | None = None,
        stdin: bytes | None = None,
        **options: Any,
    ) -> Done:
        """Run a command; `env` adds variables, None removes one."""
        if stdin is not None:
            options["stdin"] = subprocess.PIPE
        with self.popen(*words, env=env or {}, **options) as process:
            try:
                out, err = process.communicate(stdin, timeout=60)
            except BaseException:
                process.kill()
                raise
        out, err = out or b"", err or b""
        return Done(process.returncode, os.fsdecode(out), os.fsdecode(err))

    def on_terminal(
        self,
        *words: str | bytes | os.PathLike[str],
        typed: str = "",
        interrupt_at: str = "",
        **variables: str | None,
    ) -> str:
        """What a run writes to a terminal of 80 columns, as it comes out of it.

        Args:
            words: Of the command.
            typed: Waits in the keyboard.
            interrupt_at: The run gets a SIGINT once it has written this.
            variables: Of the environment.
        """
        leader, follower = os.openpty()
        termios.tcsetwinsize(follower, (24, 80))
        env = {"TERM": "xterm-256color", "COLUMNS": None, **variables}
        with self.popen(*words, env=env, stdin=follower, stdout=follower, stderr=follower) as process:
            os.close(follower)
            os.write(leader, typed.encode())
            pieces = []
            try:
                while piece := os.read(leader, 65536):
                    pieces.append(piece)
                    if interrupt_at and interrupt_at.encode() in b"".join(pieces):
                        process.send_signal(signal.SIGINT)
                        interrupt_at = ""
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017  (how Linux says that the other side is closed)
            process.wait(timeout=60)
        os.close(leader)
        return os.fsdecode(b"".join(pieces).replace(b"\r\n", b"\n"))

    def sudo(self, *words: str | bytes | os.PathLike[str], **options: Any) -> Done:
        """The same command, typed after sudo by the user whose it is."""
        direct, self.command = self.command, ("sudo", "-n", COMMAND)
        try:
            return self(*words, **options)
        finally:
            self.command = direct

    # -- the world ---------------------------------------------------------------------------------

    def image(self, name: str | bytes = "disk.dd", content: bytes = b"evidence\n" * 2048) -> Path:
        """Write an image into the working folder."""
        path = self.folder / os.fsdecode(name)
        path.write_bytes(content)
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid)
        return path

    def case(self, name: str = "case", *words: str) -> Path:
        """Make a case."""
        self("case", "new", name, *words).ended(0)
        return self.folder / name

    @property
    def own_log(self) -> Path:
        return self.base / "state" / "imgkit" / "custody.jsonl"

    def records(self, log: Path | None = None) -> list[dict[str, Any]]:
        """Every record of a log, the examiner's own by default."""
        text = (log or self.own_log).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

"""For which case: `--case`, IMGKIT_CASE, the folder one works in, else the examiner's own log."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imgkit.errors import CustodyError, UsageError
from imgkit.linux.files import (
    OVERLAYFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    Identity,
    acting_as,
    owner_of_place,
    statfs_type,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from imgkit.examination.examiner import User

LOG_NAME = "custody.jsonl"


@dataclass(frozen=True, slots=True)
class CaseChoice:
    """Which custody log is worked with, and why.

    Attributes:
        log: Absolute path of its custody.jsonl.
        why: `stated` (option or variable), `folder` (working directory or an ancestor), or `own` (no case).
        exists: Whether the log is there; only an `own` one may be absent, it is made at first use.
    """

    log: str
    why: Literal["stated", "folder", "own"]
    exists: bool

    @property
    def folder(self) -> str:
        """The folder of the log."""
        return os.path.dirname(self.log)


def stated(option: str | None, variable: str, environ: Mapping[str, str]) -> str | None:
    """What an option says, else its environment variable; an empty variable says nothing, an empty option is wrong."""
    return option if option is not None else environ.get(variable) or None


def choose_case(stated: str | None, user: User, state: str, *, require_case: bool) -> CaseChoice:
    """Return the log to work with.

    Args:
        stated: `--case` or IMGKIT_CASE: a case folder or its custody.jsonl.
        user: The invoking user.
        state: Their state folder, which holds their own log.
        require_case: Refuse to fall back to the own log.

    Raises:
        CustodyError: The stated case does not exist.
        UsageError: No case, and one is required.
    """
    if stated is not None:
        return CaseChoice(log_path(stated, user), "stated", exists=True)
    if (found := _above(os.getcwd(), user)) is not None:
        return CaseChoice(found, "folder", exists=True)
    if require_case:
        raise UsageError(
            "no case, and the settings require one", hint="name it with --case DIR, or work inside its folder"
        )
    own = os.path.join(state, LOG_NAME)
    with acting_as(identity_in(state)):
        return CaseChoice(own, "own", exists=os.path.lexists(own))


def log_path(stated: str, user: User, *, must_exist: bool = True) -> str:
    """Return the absolute path of the custody.jsonl that a case folder or file name means.

    Args:
        stated: Folder or file.
        user: With whose rights it is looked for.
        must_exist: False where something is to be taken down although its case is gone: then it is a folder's name.

    Raises:
        CustodyError: There is none, or this user may not see it.
        UsageError: The name is empty.
    """
    if not stated:
        raise UsageError("the name of the case is empty", hint="name its folder")
    path = os.path.abspath(stated)
    with acting_as(user.identity if os.geteuid() == 0 and user.uid else None):
        log = os.path.join(path, LOG_NAME) if os.path.isdir(path) else path
        there = os.path.isfile(log)
        hidden = not there and _is_hidden(log)
    if hidden and must_exist:
        raise CustodyError(
            f"cannot look at {log}: permission denied",
            hint="check owner and mode of the case folder and of the folders above it",
        )
    if not there and not must_exist and os.path.basename(log) != LOG_NAME:
        return os.path.join(log, LOG_NAME)
    if not there and must_exist:
        raise CustodyError(f"no custody log at {log}", hint=f"make the case with: imgkit case new {stated}")
    return log


def _is_hidden(path: str) -> bool:
    """Whether this user may not even know if there is something."""
    try:
        os.lstat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _above(start: str, user: User) -> str | None:
    """The nearest custody.jsonl here or above that the user, a group of theirs, or root owns: no planted one."""
    folder = start
    while True:
        path = os.path.join(folder, LOG_NAME)
        found = _seen(path, user)
        if found is not None and stat.S_ISREG(found.st_mode) and _theirs(found, user):
            return path
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)


def _seen(path: str, user: User) -> os.stat_result | None:
    """What lies there, as the invoking user sees it where root is refused; None where nothing is to be seen."""
    try:
        return os.lstat(path)
    except PermissionError:
        if os.geteuid() != 0 or user.uid == 0:
            return None
    except OSError:
        return None
    with acting_as(user.identity), contextlib.suppress(OSError):
        return os.lstat(path)
    return None


def _theirs(found: os.stat_result, user: User) -> bool:
    return found.st_uid in (user.uid, 0) or found.st_gid in (user.identity.gid, *user.identity.groups)


def identity_in(folder: str) -> Identity | None:
    """With whose rights root touches files in a folder of a case or of this host's memory: its owner's."""
    return owner_of_place(folder)


def acting_in(folder: str) -> AbstractContextManager[None]:
    """A block whose file accesses are those of identity_in(folder)."""
    return acting_as(identity_in(folder))


def verifying_in(folder: str) -> AbstractContextManager[None]:
    """As acting_in, for a block that verifies a log: what that loads late is loaded before rights are given up."""
    identity = identity_in(folder)
    if identity is not None:
        from imgkit.custody.verify.late import load_late

        load_late()
    return acting_as(identity)


def volatile_notice(folder: str) -> str | None:
    """Say so where the own log lies on a file system that the next boot or the end of a container removes."""
    with acting_in(folder):
        kind = {TMPFS_MAGIC: "tmpfs", OVERLAYFS_SUPER_MAGIC: "overlay"}.get(statfs_type(folder))
    if kind is None:
        return None
    return f"your own log in {folder} lies on {kind}: it may not outlive this session; use --case for work that must last"

"""Presence: who is at the bench on this host: user, settings, examiner, memory of logs, and this run's session."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.custody.session import Actor, Session
from imgkit.custody.state import StateFolder
from imgkit.errors import UsageError
from imgkit.examination.cases import identity_in, stated
from imgkit.examination.examiner import (
    Examiner,
    Settings,
    User,
    examiner_of,
    invoking_user,
    load_settings,
    state_folder,
)

_LIBRARIES = ("blake3", "isal", "pytsk3", "zstandard")

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Presence:
    """Who acts, before it is known for which case.

    Attributes:
        user: The invoking user.
        settings: Their imgkit.toml.
        examiner: Who acts.
        state: This host's memory for that user.
        session: This run of imgkit; a context manager, entered by whoever made the presence.
    """

    user: User
    settings: Settings
    examiner: Examiner
    state: StateFolder
    session: Session


def library_versions(folders: Sequence[str] | None = None) -> dict[str, str]:
    """Versions of the libraries that read evidence, as installed beside imgkit; nothing is imported for it.

    Args:
        folders: Where to look; None: as Python would.
    """
    found: dict[str, str] = {}
    for folder in sys.path if folders is None else folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # sys.path may name what is not there
        for name in names:
            library, dash, version = name.removesuffix(".dist-info").partition("-")
            if dash and name.endswith(".dist-info") and library in _LIBRARIES:
                found.setdefault(library, version)
    return found


def memory_of(environ: Mapping[str, str]) -> StateFolder:
    """This host's memory for the invoking user.

    Raises:
        HostError: There is no place for it.
    """
    folder = state_folder(invoking_user(environ), environ)
    return StateFolder(folder, identity=identity_in(folder))


def be_present(
    *,
    examiner: str | None,
    argv: Sequence[str] | None,
    ask: Callable[[], str] | None,
    environ: Mapping[str, str] = os.environ,
) -> Presence:
    """Find out who acts.

    Args:
        examiner: `Jane Doe <jane@lab>`; else IMGKIT_EXAMINER, the settings, the login name.
        argv: For the session's first record; secrets in it are replaced.
        ask: Called where root acts and nobody is stated.
        environ: The process environment.

    Raises:
        UsageError: Nobody is stated to act for root, or a setting is malformed.
        HostError: There is no place for this host's memory.
    """
    user = invoking_user(environ)
    settings = load_settings(user, environ)
    who = examiner_of(stated(examiner, "IMGKIT_EXAMINER", environ), settings, user)
    if who is None and ask is not None:
        who = examiner_of(ask(), settings, user)
    if who is None:
        raise UsageError(
            "root acts, and nobody is stated as the examiner",
            hint="--examiner 'Jane Doe <jane@lab.example>', or IMGKIT_EXAMINER, or name and id in /etc/imgkit.toml",
        )
    state = memory_of(environ)
    actor = Actor(name=who.name, id=who.id, role=who.role, org=who.organisation)
    argv = list(sys.argv if argv is None else argv)
    session = Session(actor, state, argv=argv, libraries=library_versions())
    return Presence(user, settings, who, state, session)

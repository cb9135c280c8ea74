"""Checkpoints of the case at hand: with whose key they are signed, and when a case asks for one by itself."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from imgkit.custody.checkpoints import Made, make_checkpoint
from imgkit.custody.ssh import Signer
from imgkit.errors import CustodyError, UsageError
from imgkit.examination.cases import stated
from imgkit.examination.examiner import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgkit.custody.log import CustodyLog
    from imgkit.examination import Examination
    from imgkit.examination.presence import Presence

HAND_OVER, EACH_COMMAND = "hand-over", "each command"  # when a case asks for a checkpoint
BY_POLICY = "command"  # the reason of a checkpoint that the case's policy asked for
NOBODY = "-"  # instead of a key: unsigned


def checkpoint(
    examination: Examination,
    reason: str,
    *,
    signer: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Made:
    """Make a checkpoint of the examination's log; what cannot be signed is unsigned, and the examiner is told.

    Args:
        examination: Whose log.
        reason: `transfer`, `seal`, `receipt` …
        signer: `--signer`: `KEY`, `PRINCIPAL=KEY`, `-` for unsigned; else IMGKIT_SIGNER, else the settings.
        environ: For tests.

    Raises:
        UsageError: The statement of the signer makes no sense.
        CustodyError: The checkpoint is not in the log.
    """
    who = signer_of(examination.presence, signer, environ)
    made = make_checkpoint(examination.log, reason=reason, signer=who)
    examination.checkpoint_written(made)
    return made


def checkpoint_by_policy(
    log: CustodyLog,
    presence: Presence,
    notify: Callable[[str], object],
    environ: Mapping[str, str] = os.environ,
) -> Made | None:
    """Make the checkpoint at the end of a command where the case asks for one; failing is told, and no failure."""
    if policy_of(log.opening) != EACH_COMMAND:
        return None
    try:
        made = make_checkpoint(log, reason=BY_POLICY, signer=signer_of(presence, None, environ))
    except (CustodyError, UsageError) as error:
        notify(f"no checkpoint at the end of this command: {error.message}")
        return None
    for text in made.notices:
        notify(text)
    return made


def policy_of(opening: Mapping[str, Any]) -> str:
    """When the case whose line 1 this is asks for checkpoints."""
    policy = opening["data"].get("policy")
    wanted = policy.get("checkpoint") if isinstance(policy, dict) else None
    return EACH_COMMAND if wanted == EACH_COMMAND else HAND_OVER


def policy_fields(wanted: str | None) -> dict[str, str] | None:
    """`policy` of `case.opened` for `--checkpoint each-command` or `hand-over`.

    Raises:
        UsageError: It is neither.
    """
    if wanted is None:
        return None
    known = {EACH_COMMAND.replace(" ", "-"): EACH_COMMAND, HAND_OVER: HAND_OVER}
    if wanted not in known:
        raise UsageError(f"--checkpoint takes {' or '.join(known)}, not {wanted!r}")
    return {"checkpoint": known[wanted]}


def signer_of(
    presence: Presence, option: str | None, environ: Mapping[str, str] = os.environ
) -> Signer | None:
    """Return who signs: `--signer`, IMGKIT_SIGNER, the settings; None: nobody.

    Behind sudo it is the invoking user's key and agent: ssh-keygen runs as that user.

    Raises:
        UsageError: The key or the principal makes no sense.
    """
    text = stated(option, "IMGKIT_SIGNER", environ)
    if text is not None and not text.strip():
        raise UsageError("the name of the signing key is empty", hint="--signer KEY, or - for unsigned")
    if text == NOBODY:
        return None
    named = _parse(text) if text is not None else presence.settings.signer
    if named is None:
        return None
    user = presence.user
    return Signer(
        named.principal or presence.examiner.id,
        _path(named.key, user.home, relative=text is not None),
        agent=environ.get("SSH_AUTH_SOCK") or None,
        identity=user.identity if os.geteuid() == 0 and user.uid != 0 else None,
        ask=_is_somebody_there(),
    )


def _parse(text: str) -> SigningKey:
    """`jane@lab=~/.ssh/id_ed25519`, or the path alone; a path with `=` in it begins with `/` or `./`."""
    principal, equals, key = text.partition("=")
    if not equals or "/" in principal:
        return SigningKey(text)
    if not key.strip() or not principal:
        raise UsageError(f"{text!r} names no signing key", hint="--signer KEY, or --signer PRINCIPAL=KEY")
    return SigningKey(key, principal)


def _path(key: str, home: str | None, *, relative: bool) -> str:
    """The key's absolute path; in the settings a relative one would mean another file in each folder."""
    if key == "~" or key.startswith("~/"):
        if home is None:
            raise UsageError(f"{key}: the user has no home folder")
        return os.path.join(home, key[2:])
    if not relative and not os.path.isabs(key):
        raise UsageError(
            f"the settings name the signing key {key!r} by a relative path", hint="begin with / or ~/"
        )
    return os.path.abspath(key)


def _is_somebody_there() -> bool:
    """Whether a passphrase can be typed: a terminal before and behind us, and the one we belong to."""
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True

"""Making a checkpoint: what the log is, read under its lock; a signature, made outside of it; files; the record.

A signature that cannot be had fails nothing: the checkpoint is there without, and says so. The record comes before the names
of the files, so a crash leaves no file that nothing explains; the next append names what the crash left unnamed.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from imgkit.custody import checkpoint_files, sshsig
from imgkit.custody.append import Unless
from imgkit.custody.checkpoint import NONE, Checkpoint, body_digest, case_word
from imgkit.custody.checkpoint_files import BODY, FOLDER, RECORDED, SIGNATURE, SUMS
from imgkit.custody.durable import NEW_FILE, mode_like, own_like, read_whole, told, write_all
from imgkit.custody.enclosures import discard
from imgkit.custody.measure import measure
from imgkit.custody.ssh import sign
from imgkit.errors import CustodyError, HostError
from imgkit.linux.files import acting_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.custody.enclosures import Aside
    from imgkit.custody.log import CustodyLog
    from imgkit.custody.measure import Before
    from imgkit.custody.ssh import Signer

_TRIES = 16  # other runs may be quicker so often
_TURN_SECONDS = 30.0
_FILE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint that is in the log.

    Attributes:
        checkpoint: What it says.
        body: Its bytes.
        files: Paths of its files: body, signature (where there is one), sums.
        line: Of its record.
        signed: Whether there is a signature.
        notices: Sentences for the examiner, why it is unsigned among them.
        fingerprint: Of the key that signed it, or None.
    """

    checkpoint: Checkpoint
    body: bytes
    files: tuple[str, ...]
    line: int
    signed: bool
    notices: tuple[str, ...]
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class _Signed:
    """A signature, or why there is none."""

    signature: bytes | None = None
    facts: sshsig.SignatureFacts | None = None
    why_not: str | None = None


def make_checkpoint(log: CustodyLog, *, reason: str, signer: Signer | None) -> Made:
    """Make a checkpoint of all that the log holds now, sign it, keep it and record it.

    Args:
        log: Whose.
        reason: `transfer`, `seal`, `command` …; other texts as case_word shortens them.
        signer: Who signs, or None: unsigned.

    Raises:
        CustodyError: It is not in the log: this cannot be read or appended to, or a file of that name is there already.
    """
    with _my_turn(log):
        for _ in range(_TRIES):
            made = _try(log, case_word(reason), signer)
            if made is not None:
                return made
    raise CustodyError(
        f"no checkpoint of {log.path!r}: {_TRIES} times another run made one first", hint="try again"
    )


def _try(log: CustodyLog, reason: str, signer: Signer | None) -> Made | None:
    """Make it, or return None where another run made one since the log was read."""
    with log.held() as (fd, _remembered), told(f"read custody log {log.path!r}"):
        read = measure(fd, log)
        contradiction = read.contradiction(fd)
    checkpoint = replace(read.checkpoint(log), signer=signer.principal if signer else NONE, reason=reason)
    notices = [*([contradiction] if contradiction else []), *_before(log, checkpoint, read.before)]
    body = checkpoint.body
    signed = _sign(body, signer)
    if signed.why_not is not None:
        notices.append(f"checkpoint {checkpoint.n} is UNSIGNED: {signed.why_not}")
    what = f"keep checkpoint {checkpoint.n} in {log.folder!r}"
    with acting_as(log.identity), told(what):
        aside = checkpoint_files.put_aside(log.folder, checkpoint.name, body, signed.signature)
    line = _record(log, checkpoint, signed, aside)
    if line is None:
        return None
    notices += _publish(log, what, aside)
    if (memory := read.memory) is not None:
        with contextlib.suppress(CustodyError):  # it only saves time
            log.session.state.remember_tree(log.uuid, memory)
    if signer is not None and signed.facts is not None:
        notices += _introduce(log, signer.principal, signed.facts)
    files = tuple(one.path for one in aside)
    fingerprint = signed.facts.fingerprint if signed.facts is not None else None
    return Made(checkpoint, body, files, line, signed.signature is not None, tuple(notices), fingerprint)


def _record(log: CustodyLog, checkpoint: Checkpoint, signed: _Signed, aside: list[Aside]) -> int | None:
    """Append the record; None where another checkpoint came between.

    Where that fails, or is interrupted, the line may be there all the same: what is aside stays, and the next run knows.
    """
    unless = Unless(checkpoint.bytes, RECORDED)
    line = log.event_unless(unless, "log.checkpointed", _data(checkpoint, signed))
    if line is None:
        with acting_as(log.identity):
            discard(aside)
    return line


def _data(checkpoint: Checkpoint, signed: _Signed) -> dict[str, Any]:
    data: dict[str, Any] = {
        "n": checkpoint.n,
        "size": checkpoint.size,
        "bytes": checkpoint.bytes,
        "head": checkpoint.head,
        "file": checkpoint.file,
        "merkle": checkpoint.merkle,
        "prev": checkpoint.prev,
        "body": body_digest(checkpoint.body),
        "signer": checkpoint.signer,
        "reason": checkpoint.reason,
    }
    if signed.signature is not None and signed.facts is not None:
        data["signature"] = hashlib.sha256(signed.signature).hexdigest()
        data["fingerprint"] = signed.facts.fingerprint
    if signed.why_not is not None:
        data["unsigned"] = signed.why_not[:1000]
    return data


def _sign(body: bytes, signer: Signer | None) -> _Signed:
    if signer is None:
        return _Signed()
    try:
        signature = sign(body, signer)
        return _Signed(signature, sshsig.read_signature(signature))
    except (CustodyError, HostError) as error:
        return _Signed(why_not=error.message + (f" ({error.hint})" if error.hint else ""))


def _before(log: CustodyLog, checkpoint: Checkpoint, last: Before) -> list[str]:
    """Compare the body of the checkpoint before with what was recorded, and see that our names are free."""
    place = os.path.join(log.folder, FOLDER)
    with acting_as(log.identity), told(f"look at the checkpoints in {place!r}"):
        for end in (BODY, SIGNATURE, SUMS):
            if os.path.lexists(path := os.path.join(place, checkpoint.name + end)):
                raise CustodyError(
                    f"{path!r} is there already, and the log knows of {last.n} checkpoints only",
                    code="EXTRA_FILE",
                    hint="it belongs to another state of the log, or somebody put it there: move it away",
                )
        path = os.path.join(place, f"{last.n:06}{BODY}")
        try:
            body = read_whole(path, limit=_FILE_LIMIT) if last.n else None
        except FileNotFoundError:
            body = None  # taken away, or not yet named; what the log recorded of it counts
    if body is not None and body_digest(body) != last.body:
        return [f"{path} is not what the log recorded: imgkit log verify"]
    return []


def _publish(log: CustodyLog, what: str, aside: list[Aside]) -> list[str]:
    try:
        with acting_as(log.identity), told(what):
            return checkpoint_files.publish(aside)
    except CustodyError as error:
        return [error.message]  # the bytes are safe, the record is durable; the next run names them


@contextlib.contextmanager
def _my_turn(log: CustodyLog) -> Iterator[None]:
    """Make checkpoints one run after another, so that nobody signs twice; no turn within the time: go on, the log decides."""
    fd = -1
    with acting_as(log.identity), contextlib.suppress(OSError):  # no such folder, or no locks there
        fd = os.open(os.path.join(log.folder, FOLDER), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _wait_for(fd)
    try:
        yield
    finally:
        if fd >= 0:
            with contextlib.suppress(OSError):  # nothing was written to it
                os.close(fd)


def _wait_for(fd: int) -> None:
    deadline = time.monotonic() + _TURN_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.005)


def _introduce(log: CustodyLog, principal: str, facts: sshsig.SignatureFacts) -> list[str]:
    """Note a new signer in the folder's list of them, for whoever has none of their own."""
    path = os.path.join(log.folder, "allowed_signers")
    line = signer_line(principal, facts)
    try:
        with acting_as(log.identity), told(f"note the signer in {path!r}"):
            _add_line(path, line)
    except CustodyError as error:
        return [error.message]
    return []


def signer_line(principal: str, facts: sshsig.SignatureFacts) -> bytes:
    """Return the line of an allowed_signers file for whoever signed: their key, or the agency that certifies it."""
    key, option = facts.plain_key, ""
    if facts.certificate is not None:
        key, option = facts.certificate.ca_key, "cert-authority "
    kind = sshsig.read_key(key).kind
    return f"{principal} {option}{kind} {base64.b64encode(key).decode()}\n".encode()


def _add_line(path: str, line: bytes) -> None:
    like = os.stat(os.path.dirname(path))
    try:
        fd, new = os.open(path, NEW_FILE, mode_like(like)), True
    except FileExistsError:
        fd, new = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), False
    try:
        if new:
            own_like(fd, like)
            os.fchmod(fd, mode_like(like))
        known = b"" if new else os.pread(fd, _FILE_LIMIT, 0)
        if line not in known:
            write_all(fd, (b"\n" if known and not known.endswith(b"\n") else b"", line))
            os.fsync(fd)
    finally:
        os.close(fd)

"""Signatures of checkpoints: every one is judged by ssh-keygen, as many at a time as there are processors.

A list of signers comes from outside the folder. Without one the list that lies in the folder is asked: it says no more than
the folder says of itself, which is SELF_ASSERTED.
"""

from __future__ import annotations

import hashlib
import os
import stat
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from imgkit.custody.durable import told
from imgkit.custody.verify.beside import shown
from imgkit.custody.verify.finding import lines_from
from imgkit.custody.verify.outside import lies_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future, ThreadPoolExecutor

    from imgkit.custody.checkpoint import Checkpoint
    from imgkit.custody.ssh import SignatureCheck
    from imgkit.custody.verify.checkpoint_files import Files
    from imgkit.custody.verify.checkpoints import Judged
    from imgkit.custody.verify.finding import Findings

Path = str | os.PathLike[str]
NOBODY = "/dev/null"  # a list of signers that names nobody
_LIST_LIMIT = 16 << 20

# What ssh-keygen says -> the code; `unknown` depends on whether the list has other keys for the signer.
_CODES = {
    "bad": "BAD_SIGNATURE",
    "namespace": "BAD_SIGNATURE",
    "principal": "BAD_SIGNATURE",
    "expired": "BAD_SIGNATURE",
    "revoked": "KEY_REVOKED",
    "weak": "WEAK_KEY",
}


class Signed(NamedTuple):
    """A signature that is good.

    Attributes:
        n: Of which checkpoint.
        size: How many lines it covers.
        principal: Who.
        fingerprint: Which key.
        trusted: By the list from outside; otherwise the folder vouches for itself.
    """

    n: int
    size: int
    principal: str
    fingerprint: str
    trusted: bool


class Signatures:
    """Judges signatures beside the reading of the log, and tells of them at the end."""

    def __init__(
        self, findings: Findings, folder: str | None, signers: Path | None, revoked: Path | None
    ) -> None:
        """Args: `signers` and `revoked` are the verifier's; `folder` is the case folder, or None.

        Raises:
            CustodyError: A list cannot be read.
        """
        self._findings = findings
        given = os.fspath(signers) if signers is not None else None
        self._outside = given is not None and not lies_in(folder, given)
        self._own = None if self._outside else given or _own_list(folder)
        self._signers = given or self._own or NOBODY
        self._revoked = os.fspath(revoked) if revoked is not None else None
        self._listed = _principals(self._signers)
        if self._revoked is not None:
            with (
                told(f"read the list of revoked keys {self._revoked!r}", given=True),
                open(self._revoked, "rb"),
            ):
                pass
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: dict[int, Future[SignatureCheck]] = {}
        self.good: list[Signed] = []

    def begin(self, there: Mapping[int, Files], bodies: Mapping[int, Checkpoint]) -> None:
        """Start on every signature that lies there."""
        for n, files in there.items():
            if n in bodies:
                self._start(files, bodies[n].signer, bodies[n].time)

    def _start(self, files: Files, signer: str, time: str) -> None:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (only where something is signed)

        from imgkit.custody.ssh import verify_signature  # noqa: PLC0415

        if files.signature is None or files.body is None or files.n in self._waiting:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
        self._waiting[files.n] = self._pool.submit(
            verify_signature,
            files.body,
            files.signature,
            signers=self._signers,
            principal=signer,
            revoked=self._revoked,
            at=time,
        )

    def close(self) -> None:
        """Let nothing run on."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def finish(self, checkpoints: Iterable[Judged]) -> None:
        """Tell what was found.

        Raises:
            CustodyError: A list of keys cannot be used.
            HostError: There is no ssh-keygen.
        """
        unsigned: list[Judged] = []
        asserted: dict[tuple[str, str], list[Judged]] = {}
        unknown: dict[tuple[str, str], list[Judged]] = {}
        for one in checkpoints:
            if one.files.signature is None:
                if one.recorded is None or "signature" not in one.recorded.data:
                    unsigned.append(one)
                continue
            if one.signer:
                self._start(one.files, one.signer, one.time)
                self._judge(one, self._waiting[one.n].result(), asserted, unknown)
        self._tell_unsigned(unsigned)
        self._tell_asserted(asserted)
        self._tell_unknown(unknown)

    def tail(self, last_act: int, lines: int) -> None:
        """Tell of the lines that no good signature covers, unless they only keep the books of checkpoints and stamps."""
        signed = max((one.size for one in self.good), default=0)
        if last_act > signed or signed == 0:
            self._findings.add(
                "UNSIGNED_TAIL",
                lines or None,
                f"no trusted signature covers {lines_from(signed + 1, lines)}",
            )

    def _judge(
        self,
        one: Judged,
        check: SignatureCheck,
        asserted: dict[tuple[str, str], list[Judged]],
        unknown: dict[tuple[str, str], list[Judged]],
    ) -> None:
        who = (one.signer, check.fingerprint or "an unreadable key")
        recorded = self._is_recorded(one, check)
        code = self._code(one.signer, check)
        if code is not None:
            self._findings.add(
                code, one.line, f"the signature of checkpoint {one.n:,}: {shown(check.detail)}"
            )
        elif not recorded:
            detail = f"by {check.fingerprint} is not the one that the line names"
            self._findings.add("BAD_SIGNATURE", one.line, f"the signature of checkpoint {one.n:,} {detail}")
        elif check.status == "unknown" and (self._outside or self._own is not None):
            unknown.setdefault(who, []).append(one)
        else:
            if not self._outside:
                asserted.setdefault(who, []).append(one)
            if one.agrees:
                self.good.append(Signed(one.n, one.size, *who, trusted=self._outside))

    def _code(self, signer: str, check: SignatureCheck) -> str | None:
        """The code of a signature that is not good."""
        if check.status == "unknown" and self._lists(signer):
            return "BAD_SIGNATURE"  # the list has keys for this signer, and this is none of them
        return _CODES.get(check.status)

    def _lists(self, signer: str) -> bool:
        return any(fnmatchcase(signer, pattern) for pattern in self._listed)

    @staticmethod
    def _is_recorded(one: Judged, check: SignatureCheck) -> bool:
        """Whether the line of the checkpoint names this signature, and its key."""
        if one.recorded is None:
            return True
        true = {
            "signature": hashlib.sha256(one.files.signature or b"").hexdigest(),
            "fingerprint": check.fingerprint,
        }
        return all(one.recorded.data.get(key, fact) == fact for key, fact in true.items())

    def _tell_unsigned(self, unsigned: list[Judged]) -> None:
        if unsigned:
            lines = [one.line for one in unsigned if one.line is not None]
            self._findings.add(
                "UNSIGNED_CHECKPOINT", lines[0] if lines else None, f"nobody signed {_numbers(unsigned)}"
            )

    def _tell_asserted(self, asserted: Mapping[tuple[str, str], list[Judged]]) -> None:
        for (principal, fingerprint), ones in asserted.items():
            self._findings.add(
                "SELF_ASSERTED",
                None,
                f"that {shown(principal)} signed {_numbers(ones)} with {fingerprint} only this folder says: "
                "no list of signers from outside was given",
            )

    def _tell_unknown(self, unknown: Mapping[tuple[str, str], list[Judged]]) -> None:
        for (principal, fingerprint), ones in unknown.items():
            self._findings.add(
                "UNKNOWN_SIGNER",
                ones[0].line,
                f"the list of signers does not know {shown(principal)}, who signed {_numbers(ones)} with {fingerprint}",
            )


def _numbers(ones: list[Judged]) -> str:
    """Which checkpoints, for a sentence: `checkpoint 7`, `checkpoints 1 to 57`, `9 checkpoints from 3 to 57`."""
    first, last = ones[0].n, ones[-1].n
    if len(ones) == 1:
        return f"checkpoint {first:,}"
    if len(ones) == last - first + 1:
        return f"checkpoints {first:,} to {last:,}"
    return f"{len(ones):,} checkpoints from {first:,} to {last:,}"


def _own_list(folder: str | None) -> str | None:
    """The list of signers that lies in the folder, where it is a file."""
    if folder is None:
        return None
    path = os.path.join(folder, "allowed_signers")
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return path if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= _LIST_LIMIT else None


def _principals(path: str) -> tuple[str, ...]:
    """The patterns of principals that a list of signers has keys for (ssh-keygen(1), ALLOWED SIGNERS)."""
    if path == NOBODY:
        return ()
    with told(f"read the list of signers {path!r}", given=True), open(path, "rb") as file:
        text = file.read(_LIST_LIMIT).decode("utf-8", "replace")
    patterns: list[str] = []
    for line in text.splitlines():
        first = line.strip()
        if not first or first.startswith("#"):
            continue
        word = first[1:].partition('"')[0] if first.startswith('"') else first.split()[0]
        patterns += [part for part in word.split(",") if part and not part.startswith("!")]
    return tuple(patterns)

"""Reports: the log verified, folded, written down in one of the forms of reports/, and the product recorded."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from imgkit.custody.durable import create_file, mode_like, read_whole
from imgkit.custody.record import path_fields
from imgkit.custody.verify import verify_log
from imgkit.custody.verify.lines import read_lines
from imgkit.errors import CustodyError, HostError, UsageError
from imgkit.examination.cases import verifying_in
from imgkit.examination.presence import memory_of
from imgkit.linux.files import acting_as
from imgkit.reports import report
from imgkit.reports.folding import case_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.custody.state import StateFolder
    from imgkit.examination import Examination
    from imgkit.examination.cases import CaseChoice
    from imgkit.examination.examiner import User
    from imgkit.linux.files import Identity
    from imgkit.reports.view import CaseView

Record = dict[str, Any]

LARGEST = (
    256 * 1024 * 1024
)  # bytes of an enclosure that a report shows; lists of a million entries are smaller
OWN_FOLDERS = (
    "enclosures",
    "checkpoints",
    "receipts",
)  # of a case: a verifier asks what a strange file does there


class Product(NamedTuple):
    """A report that is made and not yet anywhere."""

    name: str
    content: bytes
    sha256: str
    view: CaseView


def make_report(chosen: CaseChoice, name: str, **checks: Any) -> Product:
    """Verify the log and return the report of what it says now.

    Args:
        chosen: Which log.
        name: A key of reports.REPORTS.
        checks: What verify_log compares with: this host's `state`, and what else others brought.

    Raises:
        UsageError: No such report.
        CustodyError: The log cannot be read.
    """
    writer = report(name)
    with verifying_in(chosen.folder):
        view = view_of(chosen.log, **checks)
    out = io.BytesIO()
    writer.write(view, out)
    content = out.getvalue()
    return Product(name, content, hashlib.sha256(content).hexdigest(), view)


def view_of(log: str, **checks: Any) -> CaseView:
    """Verify a log and fold the very lines that were verified.

    Raises:
        CustodyError: It cannot be read, or changes meanwhile.
    """
    found = verify_log(log, **checks)
    try:
        with open(log, "rb") as file:
            return case_view(
                read_lines(file, found.bytes), found, enclosures=enclosures_in(os.path.dirname(log))
            )
    except OSError as error:
        raise CustodyError(f"cannot read the custody log {log}: {error.strerror}") from error


def enclosures_in(folder: str) -> Callable[[str, str], bytes | None]:
    """Return what reads an enclosure of a case folder: its bytes, or None where they are not what the record names."""
    place = os.path.join(folder, "enclosures")

    def enclosure(sha256: str, name: str) -> bytes | None:
        try:
            content = read_whole(os.path.join(place, os.path.basename(name)), limit=LARGEST)
        except (OSError, ValueError):
            return None  # withheld: the verifier says so
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    return enclosure


def memory(environ: Any, notify: Callable[[str], object]) -> StateFolder | None:
    """This host's memory of heads, or None and a word on why it cannot be asked."""
    try:
        return memory_of(environ)
    except HostError as error:
        notify(f"this host's memory cannot be asked: {error.message}")
        return None


def export(examination: Examination, product: Product, path: str, *, recipient: str | None = None) -> int:
    """Give a report its name, which must be free, and record it; return the line. Unrecorded, it is taken away again.

    Raises:
        CustodyError: The name is taken, the file cannot be written, or the log refuses.
    """
    place = os.path.abspath(path)
    identity = identity_of(examination.presence.user)
    save(product, place, identity)
    data: Record = {
        "format": product.name,
        "sha256": product.sha256,
        "bytes": len(product.content),
        "first": 1,
        "last": product.view.lines,
        "head": product.view.head,
        **path_fields(place),
    }
    if recipient is not None:
        data["recipient"] = recipient
    try:
        return examination.event("case.exported", data)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        with acting_as(identity), contextlib.suppress(OSError):  # the first error is the one to tell
            os.unlink(place)
        raise


def identity_of(user: User) -> Identity | None:
    """Under sudo a product is the invoking user's, and lies where they may write."""
    return user.identity if os.geteuid() == 0 and user.uid else None


def save(product: Product, place: str, identity: Identity | None) -> None:
    """Write a report to a name that is free.

    Raises:
        CustodyError: It is taken, or cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(place))
    try:
        with acting_as(identity):
            around = os.stat(folder)
            create_file(place, product.content, like=around, mode=mode_like(around))
    except FileExistsError as error:
        raise CustodyError(
            f"{place} exists: a report overwrites nothing", hint="choose another name"
        ) from error
    except OSError as error:
        raise CustodyError(f"cannot write the report {place}: {error.strerror}") from error


def check_place(path: str, case: str) -> None:
    """Refuse a name that is taken, or lies among the files that the log names, before any work is done.

    Raises:
        UsageError: It is no name of a file.
        CustodyError: As said.
    """
    if path == "-":
        raise UsageError("a report goes into a file, not to standard output", hint="-o report.html")
    place = os.path.abspath(path)
    if os.path.lexists(place):
        raise CustodyError(f"{place} exists: a report overwrites nothing", hint="choose another name")
    around = os.path.realpath(os.path.dirname(place))
    if around in [os.path.realpath(os.path.join(case, name)) for name in OWN_FOLDERS]:
        raise CustodyError(
            f"{place} lies among the files that the log names",
            hint="choose another folder; the case's own will do",
        )

"""Files of checkpoints, stamps, receipts: put aside before their record, named after it, so that no crash leaves one too many."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from typing import TYPE_CHECKING

from imgkit.custody.durable import name_new_file, read_whole, sync_folder
from imgkit.custody.enclosures import Aside, aside_name, discard, subfolder, write_aside

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER, RECEIPTS = "checkpoints", "receipts"
BODY, SIGNATURE, SUMS = ".txt", ".txt.sig", ".sums"
RECORDED = b'"type":"log.checkpointed"'  # as it stands in the line of a checkpoint's record, and nowhere else

_FILE_LIMIT = 1 << 20  # bytes: a signature with a certificate has some 8,000, a time stamp as many
_STAMP = ".tsr"
_ASIDE = {  # folder -> what a killed run may have left in it
    FOLDER: re.compile(
        r"\.([0-9]{6,}\.(?:txt|txt\.sig|sums|sums\.[A-Za-z0-9._-]{1,64}\.tsr))\.[0-9a-f-]{36}\.tmp\Z"
    ),
    RECEIPTS: re.compile(r"\.((?:given|taken)-[0-9a-f-]{6,64}\.txt)\.[0-9a-f-]{36}\.tmp\Z"),
}
_SUM = re.compile(rb"([0-9a-f]{64})  [0-9]{6,}(\.txt|\.txt\.sig)\n")


def sums_of(name: str, body: bytes, signature: bytes | None) -> bytes:
    """Return the lines for `sha256sum -c` that name the body of checkpoint `name` and its signature: what is stamped."""
    files = [(BODY, body), *([(SIGNATURE, signature)] if signature is not None else [])]
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}{end}\n" for end, data in files).encode()


def put_aside(folder: str, name: str, body: bytes, signature: bytes | None) -> list[Aside]:
    """Write the files of checkpoint `name` into a case folder, durable but not yet named.

    Raises:
        OSError: As the kernel says; nothing is left.
    """
    place, like = subfolder(folder, FOLDER), os.stat(folder)
    files = {BODY: body, SUMS: sums_of(name, body, signature)}
    if signature is not None:
        files[SIGNATURE] = signature
    aside: list[Aside] = []
    try:
        for end in (BODY, SIGNATURE, SUMS):
            if end in files:
                one = Aside(aside_name(place, name + end), os.path.join(place, name + end))
                aside.append(one)
                write_aside(one.temp, (files[end],), like)
        sync_folder(place)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        discard(aside)
        raise
    return aside


def put_one_aside(folder: str, place: str, name: str, data: bytes) -> Aside:
    """Write one file, a time stamp or a receipt, as put_aside does.

    Args:
        folder: The case folder.
        place: FOLDER or RECEIPTS.
        name: What it will be called.
        data: What it holds.

    Raises:
        OSError: As the kernel says; nothing is left.
    """
    inside = subfolder(folder, place)
    one = Aside(aside_name(inside, name), os.path.join(inside, name))
    try:
        write_aside(one.temp, (data,), os.stat(folder))
        sync_folder(inside)
    except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
        discard([one])
        raise
    return one


def publish(aside: Iterable[Aside]) -> list[str]:
    """Give files that were put aside their names, now that a durable record names them; return what could not be.

    Raises:
        OSError: As the kernel says; what is still aside can be published later.
    """
    notices, folders = [], set()
    for one in aside:
        try:
            name_new_file(one.temp, one.path)
        except FileExistsError:
            if not _same(one):
                notices.append(f"{one.path} holds other bytes than its record names; they are in {one.temp}")
                continue
            os.unlink(one.temp)
        except FileNotFoundError:
            if not os.path.lexists(one.path):  # else another run has named it for us
                raise
        folders.add(os.path.dirname(one.path))
    for place in folders:
        sync_folder(place)
    return notices


def left_aside(folder: str) -> list[Aside]:
    """Return what a killed run left unnamed; whether a record names it, the log tells: see needles_of."""
    found = list[Aside]()
    for place, pattern in _ASIDE.items():
        inside = os.path.join(folder, place)
        with contextlib.suppress(FileNotFoundError):
            matches = [(name, pattern.match(name)) for name in sorted(os.listdir(inside))]
            found += [
                Aside(os.path.join(inside, name), os.path.join(inside, m[1])) for name, m in matches if m
            ]
    return found


def needles_of(one: Aside) -> list[bytes]:
    """Return what the log holds if a record names this file; nothing: it is not whole.

    Raises:
        OSError: It cannot be read.
    """
    try:
        data = read_whole(one.temp, limit=_FILE_LIMIT)
    except FileNotFoundError:
        return []  # another run was quicker
    if one.path.endswith(SUMS):
        lines = _SUM.findall(data)
        whole = b"".join(line.group() for line in _SUM.finditer(data)) == data
        return [_needle(end.decode(), digest.decode()) for digest, end in lines] if whole else []
    digest = hashlib.sha256(data).hexdigest()
    if one.path.endswith(_STAMP):
        return [f'"file":"{one.name}"'.encode(), f'"sha256":"{digest}"'.encode()]
    if os.path.basename(os.path.dirname(one.path)) == RECEIPTS:
        return [f'"name":"{one.name}"'.encode(), f'"text":"{digest}"'.encode()]
    return [_needle(SIGNATURE if one.path.endswith(SIGNATURE) else BODY, digest)]


def _needle(end: str, digest: str) -> bytes:
    return f'"{"body" if end == BODY else "signature"}":"{digest}"'.encode()


def _same(one: Aside) -> bool:
    with contextlib.suppress(OSError):
        return read_whole(one.path, limit=_FILE_LIMIT) == read_whole(one.temp, limit=_FILE_LIMIT)
    return False

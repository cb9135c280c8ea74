"""A bag: a folder to hand over whose every file a manifest names by digest (BagIt 1.0, RFC 8493).

It gets its name when it is whole and has been read back, so that what was cut off is never taken for a bag. With stock
tools: `sha256sum -c tagmanifest-sha256.txt && sha256sum -c manifest-sha256.txt`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.custody.durable import NEW_FILE, NO_RENAME, sync_folder, told, write_all
from imgkit.custody.record import new_uuid, printable
from imgkit.errors import CustodyError
from imgkit.linux.files import acting_as, open_regular, renameat2_noreplace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imgkit.linux.files import Identity

DECLARATION, INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
PAYLOAD = "data"
DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_BLOCK = 1 << 20
_NOT_IN_A_NAME = frozenset('%\\/\ufffd<>:"|?*')  # codes in manifests; what FAT, exFAT and Windows refuse


@dataclass(frozen=True, slots=True)
class Payload:
    """One file to put into a bag.

    Attributes:
        name: Below data/, with `/` between folders.
        open: Returns a descriptor to read it from, which is closed here.
        length: How many of its bytes; None: all.
        executable: Whether it is to be run.
    """

    name: str
    open: Callable[[], int]
    length: int | None = None
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Bag:
    """A bag that was written.

    Attributes:
        path: Where it is.
        digests: SHA-256 of every payload file, by its name below data/.
        bytes: Of the whole payload.
        manifest: SHA-256 of its manifest, which stands for all of the payload.
    """

    path: str
    digests: Mapping[str, str]
    bytes: int
    manifest: str


def write_bag(
    path: str,
    payload: Sequence[Payload],
    *,
    info: Sequence[tuple[str, str]],
    tags: Mapping[str, bytes],
    identity: Identity | None = None,
    progress: Callable[[int], object] = bool,  # nobody counts
) -> Bag:
    """Make a bag; every copy is synced and read back before the bag gets its name.

    Args:
        path: Its name, which must be free.
        payload: What goes into it.
        info: Labels and values of bag-info.txt; Payload-Oxum is added.
        tags: Further files beside data/.
        identity: With whose rights it is written; None: the caller's.
        progress: Called with the number of bytes of each step, written or read back.

    Raises:
        CustodyError: It could not be made; nothing is left of it.
    """
    path = os.path.abspath(path)
    around, name = os.path.split(path)
    temp = os.path.join(around, f"{_unfinished(name)}{new_uuid()}.tmp")
    made, writer = temp, _Writer(temp, identity, progress)
    with told(f"make the bag {path!r}", given=True):
        with acting_as(identity):
            if os.path.lexists(path):
                raise _taken(path)
            os.mkdir(temp, 0o750)
        try:
            bag = writer.fill(path, payload, info, tags)
            with acting_as(identity):
                _name(temp, path)
                made = path
                sync_folder(around)
        except BaseException:  # whatever it is, a signal too: raised again once nothing stays behind
            with acting_as(identity), contextlib.suppress(OSError):  # the first error is the one to tell
                shutil.rmtree(made)
            raise
    return bag


def _unfinished(name: str) -> str:
    """What the name of a bag begins with that is not whole yet."""
    return f".{name[:40]}."  # at most 160 bytes of UTF-8: with what follows no file system finds it too long


def left_over(path: str) -> list[str]:
    """Return the folders that runs left, or fill now, which make a bag of that name.

    Raises:
        OSError: As the kernel says.
    """
    around, name = os.path.split(os.path.abspath(path))
    pattern = re.compile(re.escape(_unfinished(name)) + r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp")
    return sorted(os.path.join(around, one) for one in os.listdir(around) if pattern.fullmatch(one))


class _Writer:
    """Fills a folder that has no name yet: sources are opened with the caller's rights, copies made with `identity`'s."""

    def __init__(self, temp: str, identity: Identity | None, progress: Callable[[int], object]) -> None:
        self._temp = temp
        self._identity = identity
        self._progress = progress

    def fill(
        self,
        path: str,
        payload: Sequence[Payload],
        info: Sequence[tuple[str, str]],
        tags: Mapping[str, bytes],
    ) -> Bag:
        digests: dict[str, str] = {}
        total = 0
        for item in payload:
            digest, size = self._copy(item)
            digests[item.name] = digest
            total += size
        manifest = manifest_lines({f"{PAYLOAD}/{name}": digest for name, digest in digests.items()})
        oxum = ("Payload-Oxum", f"{total}.{len(digests)}")
        files = {DECLARATION: DECLARED, INFO: info_lines([*info, oxum]), MANIFEST: manifest, **tags}
        files[TAG_MANIFEST] = manifest_lines({name: _sha256(data) for name, data in files.items()})
        with acting_as(self._identity):
            for name, data in files.items():
                _write(os.path.join(self._temp, name), data)
            for folder, _folders, _files in os.walk(self._temp, topdown=False):
                sync_folder(folder)
        return Bag(path, digests, total, _sha256(manifest))

    def _copy(self, item: Payload) -> tuple[str, int]:
        """Copy and read back; return SHA-256 and bytes."""
        place = os.path.join(self._temp, PAYLOAD, *item.name.split("/"))
        source = item.open()
        try:
            with acting_as(self._identity):
                self._make_folders(item.name)
                target = os.open(place, NEW_FILE, 0o750 if item.executable else 0o640)
            try:
                written, size = self._pour(source, target, item.length)
            finally:
                os.close(target)
        finally:
            os.close(source)
        if item.length is not None and size != item.length:
            raise CustodyError(f"cannot copy {item.name!r}: it ends after {size} of {item.length} bytes")
        with acting_as(self._identity):
            read_back, _ = digest_of(place, self._progress)
        if read_back != written:
            raise CustodyError(f"the copy of {item.name!r} does not read back as it was written")
        return read_back, size

    def _make_folders(self, name: str) -> None:
        place = os.path.join(self._temp, PAYLOAD)
        for part in ("", *name.split("/")[:-1]):
            place = os.path.join(place, part)
            with contextlib.suppress(FileExistsError):  # made for another file
                os.mkdir(place, 0o750)

    def _pour(self, source: int, target: int, length: int | None) -> tuple[str, int]:
        hasher, size = hashlib.sha256(), 0
        while block := os.pread(source, _BLOCK if length is None else min(_BLOCK, length - size), size):
            write_all(target, (block,))
            hasher.update(block)
            size += len(block)
            self._progress(len(block))
        os.fsync(target)
        os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)  # what is read back comes from the medium
        return hasher.hexdigest(), size


def _taken(path: str) -> CustodyError:
    return CustodyError(f"{path!r} is there already", hint="name a folder that is not")


def digest_of(path: str, progress: Callable[[int], object] = bool) -> tuple[str, int]:
    """Return SHA-256 and bytes of a regular file.

    Raises:
        OSError: As the kernel says.
    """
    hasher, size = hashlib.sha256(), 0
    with open_regular(path, buffering=_BLOCK) as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
            size += len(block)
            progress(len(block))
    return hasher.hexdigest(), size


def _write(place: str, data: bytes) -> None:
    fd = os.open(place, NEW_FILE, 0o640)
    try:
        write_all(fd, (data,))
        os.fsync(fd)
    finally:
        os.close(fd)


def _name(temp: str, path: str) -> None:
    try:
        renameat2_noreplace(temp, path)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        if error.errno not in NO_RENAME:
            raise
        os.rename(temp, path)  # fails where anything but an empty folder got that name meanwhile


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest_lines(digests: Mapping[str, str]) -> bytes:
    """Return a manifest: a line for each file (name -> SHA-256), as sha256sum reads it."""
    lines = (f"{digest}  {encoded(name)}\n" for name, digest in sorted(digests.items()))
    return "".join(lines).encode()


def encoded(name: str) -> str:
    """Return a name as a manifest has it: of all characters these three are written as percent codes."""
    return name.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def decoded(name: str) -> str:
    """Return the name that a manifest means."""
    for code, character in (("%0A", "\n"), ("%0a", "\n"), ("%0D", "\r"), ("%0d", "\r"), ("%25", "%")):
        name = name.replace(code, character)
    return name


def safe_name(name: str) -> str:
    """Return a file's name as it is given in a bag.

    Stock tools check it, so it needs no percent codes, and it prints; a memory stick takes it, whatever its file system.
    """
    text = os.fsencode(name).decode("utf-8", "replace")
    plain = "".join(c if c.isprintable() and c not in _NOT_IN_A_NAME else "_" for c in text)
    kept = plain.rstrip(". ")
    return kept + "_" * (len(plain) - len(kept)) or "_"


def info_lines(info: Sequence[tuple[str, str]]) -> bytes:
    """Return the lines of a bag-info.txt; a value stays on its line."""
    return "".join(f"{label}: {printable(value)}\n" for label, value in info).encode("utf-8", "replace")


# -- reading ---------------------------------------------------------------------------------------

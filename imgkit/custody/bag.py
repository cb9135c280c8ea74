"""A bag: a folder to hand over whose every file a manifest names by digest (BagIt 1.0, RFC 8493).

It gets its name when it is whole and has been read back, so that what was cut off is never taken for a bag. With stock
tools: `sha256sum -c tagmanifest-sha256.txt && sha256sum -c manifest-sha256.txt`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.custody.durable import NEW_FILE, NO_RENAME, READ_FILE, sync_folder, told, write_all
from imgkit.custody.record import new_uuid, printable
from imgkit.errors import CustodyError
from imgkit.linux.files import acting_as, renameat2_noreplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from imgkit.linux.files import Identity

DECLARATION, INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
PAYLOAD = "data"
_DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_BLOCK = 1 << 20


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
    temp = os.path.join(around, f".{name[:60]}.{new_uuid()}.tmp")
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
        except BaseException:
            with acting_as(identity), contextlib.suppress(OSError):  # the first error is the one to tell
                shutil.rmtree(made)
            raise
    return bag


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
        files = {DECLARATION: _DECLARED, INFO: info_lines([*info, oxum]), MANIFEST: manifest, **tags}
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
    fd = os.open(path, READ_FILE | os.O_NONBLOCK)
    try:
        while block := os.pread(fd, _BLOCK, size):
            hasher.update(block)
            size += len(block)
            progress(len(block))
    finally:
        os.close(fd)
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
    """Return a file's name as it is given in a bag: stock tools check it, so it needs no percent codes, and it prints."""
    text = os.fsencode(name).decode("utf-8", "replace")
    plain = "".join(c if c.isprintable() and c not in "%\\/\ufffd" else "_" for c in text)
    return plain if plain.strip(". ") else f"_{len(plain)}"


def info_lines(info: Sequence[tuple[str, str]]) -> bytes:
    """Return the lines of a bag-info.txt; a value stays on its line."""
    return "".join(f"{label}: {printable(value)}\n" for label, value in info).encode("utf-8", "replace")


# -- reading ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checked:
    """What a bag is, compared with its manifests.

    Attributes:
        path: Where it is.
        problems: What is not as the manifests say, one sentence each; empty: it is whole.
        files: Names below data/ of the payload, sorted.
        bytes: Of the whole payload.
        manifest: SHA-256 of its manifest.
    """

    path: str
    problems: tuple[str, ...]
    files: tuple[str, ...]
    bytes: int
    manifest: str


def check_bag(path: str, progress: Callable[[int], object] = bool) -> Checked:
    """Compare every file of a bag with its manifests; a link or a special file in it is a problem, and not followed.

    Raises:
        CustodyError: It is no bag, or cannot be read.
    """
    path = os.path.abspath(path)
    with told(f"read the bag {path!r}", given=True):
        _declared(path)
        found, problems = _found(path)
        manifest = _required(path, MANIFEST)
        stated = _stated(manifest, MANIFEST, problems)
        tags = _stated(_required(path, TAG_MANIFEST), TAG_MANIFEST, problems)
        payload = {name for name in found if name.startswith(f"{PAYLOAD}/")}
        problems += _names(payload, stated, MANIFEST)
        problems += [
            f"{name} is missing, and {TAG_MANIFEST} names it" for name in sorted(tags.keys() - found)
        ]
        problems += [f"{TAG_MANIFEST} does not name {name}" for name in (MANIFEST, INFO) if name not in tags]
        size = 0
        for name, digest in sorted({**tags, **stated}.items()):
            if name in found:
                actual, count = digest_of(os.path.join(path, *name.split("/")), progress)
                size += count if name in payload else 0
                if actual != digest:
                    problems.append(f"{name} is not what its manifest says")
    names = tuple(sorted(name.removeprefix(f"{PAYLOAD}/") for name in payload))
    return Checked(path, tuple(map(printable, problems)), names, size, _sha256(manifest))


def payload_bytes(path: str) -> int:
    """Return how many bytes there are to be read of a bag.

    Raises:
        OSError: As the kernel says.
    """
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _folders, names in os.walk(path)
        for name in names
    )


def _declared(path: str) -> None:
    os.stat(path)  # what is not there is no folder without a declaration
    declaration = _required(path, DECLARATION)
    if declaration.replace(b"\r\n", b"\n").strip() != _DECLARED.strip():
        raise CustodyError(f"{path!r} is no bag of BagIt 1.0 in UTF-8")


def _required(path: str, name: str) -> bytes:
    try:
        return _tag_file(path, name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CustodyError(f"{path!r} is no bag: it has no {name}") from error


def _tag_file(path: str, name: str) -> bytes:
    place = os.path.join(path, name)
    fd = os.open(place, READ_FILE | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CustodyError(f"{place!r} is no regular file")
        return file.read()


def _found(path: str) -> tuple[set[str], list[str]]:
    """Every regular file in the bag by its name there, and what is none."""
    found: set[str] = set()
    problems = []
    for folder, folders, names in os.walk(path, onerror=_raise):
        inner = os.path.relpath(folder, path)
        for name in (*folders, *names):
            place = name if inner == "." else os.path.join(inner, name)
            mode = os.lstat(os.path.join(path, place)).st_mode
            if stat.S_ISREG(mode):
                found.add(place)
            elif not stat.S_ISDIR(mode):
                problems.append(f"{place} is neither a file nor a folder")
    return found, problems


def _raise(error: OSError) -> None:
    raise error


def _stated(manifest: bytes, name: str, problems: list[str]) -> dict[str, str]:
    """The digests that a manifest states, by file."""
    stated: dict[str, str] = {}
    for line in _lines(manifest, name, problems):
        digest, _blank, rest = line.partition(" ")
        file = decoded(rest.strip(" ").removeprefix("*").removeprefix("./"))
        parts = file.split("/")
        inside = file and not {"", ".", ".."} & set(parts)
        if not inside or (name == MANIFEST) != (parts[0] == PAYLOAD) or file in stated:
            problems.append(f"{name} has a line that it cannot have: {line[:100]!r}")
            continue
        stated[file] = digest.lower()
    return stated


def _lines(manifest: bytes, name: str, problems: list[str]) -> Iterator[str]:
    try:
        text = manifest.decode()
    except UnicodeDecodeError:
        problems.append(f"{name} is not UTF-8")
        return
    yield from (line for line in text.replace("\r\n", "\n").split("\n") if line)


def _names(payload: set[str], stated: Mapping[str, str], manifest: str) -> Iterator[str]:
    for name in sorted(stated.keys() - payload):
        yield f"{name} is missing, and {manifest} names it"
    for name in sorted(payload - stated.keys()):
        yield f"{name} is in the bag, and {manifest} does not name it"

"""Small disks for the tests of tables: media in memory, builders of MBR and GPT, and the corpus's files unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import struct
import subprocess
import tarfile
import uuid
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from imgkit.errors import MediaReadError
from imgkit.image import Extent, Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
MIB = 1 << 20
_ZEROS = bytes(1 << 16)


class MemoryImage(Image):
    """Media of any size with these bytes in it and zeros elsewhere; no descriptor, like a container's."""

    format = "memory"
    path = "/memory"

    def __init__(
        self, size: int, pieces: dict[int, bytes] | None = None, *, sector_size: int | None = None
    ) -> None:
        self.size = size
        self.sector_size = sector_size
        self.pieces = dict(pieces or {})
        self.unreadable: list[Extent] = []
        self.bytes_read = 0

    def put(self, offset: int, data: bytes) -> None:
        """Later pieces lie above earlier ones."""
        self.pieces[offset] = data + self.pieces.get(offset, b"")[len(data) :]

    def read_into(self, offset: int, buffer: memoryview) -> int:
        length = max(0, min(len(buffer), self.size - offset))
        wanted = Extent(offset, length)
        for bad in self.unreadable:
            if bad.overlaps(wanted):
                raise MediaReadError("cannot read", offset=bad.offset, length=bad.length, errno=5)
        buffer[:length] = bytes(length)
        for start, data in self.pieces.items():
            low, high = max(offset, start), min(offset + length, start + len(data))
            if low < high:
                buffer[low - offset : high - offset] = data[low - start : high - start]
        self.bytes_read += length
        return length

    def data_extents(self) -> Iterator[Extent]:
        yield Extent(0, self.size)

    def close(self) -> None:
        pass


def write_image(path: Path, image: MemoryImage) -> Path:
    """The same media as a sparse file."""
    with path.open("wb") as file:
        file.truncate(image.size)
        for offset, data in image.pieces.items():
            if offset < image.size:
                file.seek(offset)
                file.write(data[: image.size - offset])
    return path


def mbr_row(kind: int, first: int, sectors: int, *, flag: int = 0) -> bytes:
    return struct.pack("<B3sB3sII", flag, b"\0\2\0", kind, b"\xff\xff\xff", first, sectors)


def boot_record(rows: Sequence[bytes], *, signature: int = 0, code: bytes = b"") -> bytes:
    """Sector 0 or an extended boot record."""
    table = b"".join(rows).ljust(64, b"\0")
    return code[:440].ljust(440, b"\0") + struct.pack("<I2x", signature) + table + b"\x55\xaa"


@dataclass(slots=True)
class GptDisk:
    """A GPT in the making: rows are (type, first LBA, last LBA, name, attributes) by slot."""

    size: int
    rows: dict[int, tuple[str, int, int, str, int]] = field(default_factory=dict)
    lba: int = 512
    count: int = 128
    entry_size: int = 128

    @property
    def last(self) -> int:
        return self.size // self.lba - 1

    @property
    def array_lbas(self) -> int:
        return -(-self.count * self.entry_size // self.lba)

    @property
    def first_usable(self) -> int:
        return 2 + self.array_lbas

    @property
    def last_usable(self) -> int:
        return self.last - self.array_lbas - 1

    def array(self) -> bytes:
        entries = bytearray(self.count * self.entry_size)
        for slot, (kind, first, last, name, attributes) in self.rows.items():
            unique = uuid.uuid5(uuid.NAMESPACE_DNS, f"row {slot}").bytes_le
            raw = name.encode("utf-16-le", "surrogatepass")[:72]
            struct.pack_into(
                "<16s16sQQQ72s",
                entries,
                slot * self.entry_size,
                uuid.UUID(kind).bytes_le,
                unique,
                first,
                last,
                attributes,
                raw,
            )
        return bytes(entries)

    def header(self, my: int, alternate: int, entry_lba: int, **changes: Any) -> bytes:
        fields = {
            "revision": 0x10000,
            "size": 92,
            "my": my,
            "alternate": alternate,
            "first": self.first_usable,
            "last": self.last_usable,
            "entry_lba": entry_lba,
            "count": self.count,
            "entry_size": self.entry_size,
        } | changes
        raw = struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            fields["revision"],
            fields["size"],
            0,
            0,
            fields["my"],
            fields["alternate"],
            fields["first"],
            fields["last"],
            uuid.uuid5(uuid.NAMESPACE_DNS, "disk").bytes_le,
            fields["entry_lba"],
            fields["count"],
            fields["entry_size"],
            zlib.crc32(self.array()),
        ).ljust(fields["size"], b"\0")
        return raw[:16] + struct.pack("<I", zlib.crc32(raw)) + raw[20:]

    def image(self, **changes: Any) -> MemoryImage:
        """Protective MBR, primary, backup; `changes` go to the primary header."""
        made = MemoryImage(self.size)
        protective = mbr_row(0xEE, 1, min(self.last, 0xFFFFFFFF))
        made.put(0, boot_record([protective]))
        made.put(self.lba, self.header(**({"my": 1, "alternate": self.last, "entry_lba": 2} | changes)))
        made.put(2 * self.lba, self.array())
        made.put(self.last * self.lba, self.header(self.last, 1, self.last - self.array_lbas))
        made.put((self.last - self.array_lbas) * self.lba, self.array())
        return made


def simple_gpt(size: int = 64 * MIB, lba: int = 512) -> GptDisk:
    """Two partitions."""
    step = MIB // lba
    return GptDisk(
        size,
        {0: (ESP, step, 8 * step - 1, "EFI", 0), 1: (LINUX, 8 * step, 32 * step - 1, "root", 0)},
        lba,
    )


def extents(rows: Iterable[Any]) -> list[tuple[int, int]]:
    """(offset, length) of partitions, ascending."""
    return sorted((row.extent.offset, row.extent.length) for row in rows)


def codes(table: Any) -> set[str]:
    return {finding.code for finding in table.findings}


def unpack(entry: dict[str, Any], member: str | None, source: Path, target: Path) -> bool:
    """Write the media of a corpus entry to `target`, sparse; False where no tool here can."""
    container = entry["container"]
    if container in {"ewf1", "qcow2", "qcow3", "vhd", "vmdk", "vmdk-desc", "vdi"}:
        return _convert(container, source, target)
    with _stream(container, member, source) as stream:
        if stream is None:
            return False
        _copy(stream, target)
    if container == "gz>vhdx":
        packed = target.rename(target.with_suffix(".vhdx"))
        done = _convert("vhdx", packed, target)
        packed.unlink()
        return done
    return True


def _convert(container: str, source: Path, target: Path) -> bool:
    """By ewfexport or qemu-img: other projects' readers, so that our containers do not judge our tables."""
    if container == "ewf1":
        command = ["ewfexport", "-q", "-u", "-f", "raw", "-t", str(target.with_suffix("")), str(source)]
    else:
        command = ["qemu-img", "convert", "-O", "raw", str(source), str(target)]
    ran = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=target.parent
    )
    return ran.returncode == 0 and target.exists()


@contextmanager
def _stream(container: str, member: str | None, source: Path) -> Iterator[IO[bytes] | None]:
    """The bytes of the member, or None where there is none of that name."""
    with ExitStack() as stack:
        if container == "raw":
            yield stack.enter_context(source.open("rb"))
        elif container.startswith(("tar", "tgz")):
            archive = stack.enter_context(tarfile.open(source))
            found = next((item for item in archive if item.isfile() and _is_member(item.name, member)), None)
            yield archive.extractfile(found) if found else None
        elif container.startswith("zip"):
            packed = stack.enter_context(zipfile.ZipFile(source))
            name = next((item for item in packed.namelist() if _is_member(item, member)), None)
            yield stack.enter_context(packed.open(name)) if name else None
        else:
            openers: dict[str, Any] = {"gz": gzip.open, "xz": lzma.open, "bz2": bz2.open}
            yield stack.enter_context(openers[container.split(">", maxsplit=1)[0]](source))


def _is_member(name: str, member: str | None) -> bool:
    if name.endswith("/"):
        return False
    return member is None or name == member or os.path.basename(name) == member


def _copy(stream: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        while block := stream.read(len(_ZEROS)):
            if block == _ZEROS[: len(block)]:
                file.seek(len(block), os.SEEK_CUR)
            else:
                file.write(block)
        file.truncate(file.tell())


def make_tricky(recipe: Path, target: Path) -> None:
    """Run the corpus's recipes; it needs stock Debian tools only."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["bash", str(recipe), str(target)], check=True, capture_output=True, timeout=120)

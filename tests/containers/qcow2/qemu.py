"""qcow2 files as qemu-img writes them, and what it reads from them: the witness."""

from __future__ import annotations

import random
import struct
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MIB = 1 << 20


def mixed_media(size: int, seed: int = 1) -> bytes:
    """Zeros, noise, repetition and text in pieces of odd lengths: what compresses, what does not, what is a hole."""
    rng = random.Random(seed)
    out = bytearray()
    while len(out) < size:
        length = rng.randrange(1, 600) * 512
        kind = rng.randrange(4)
        if kind == 0:
            out += bytes(length)
        elif kind == 1:
            out += rng.randbytes(length)
        elif kind == 2:
            out += rng.randbytes(64) * (length // 64)
        else:
            out += f"line {rng.random()} of a text\n".encode() * (length // 30)
    return bytes(out[:size])


def run(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def convert(source: Path, target: Path, *options: str) -> Path:
    run("qemu-img", "convert", "-O", "qcow2", *options, source, target)
    return target


def create(target: Path, size: str | int, *options: str) -> Path:
    run("qemu-img", "create", "-q", "-f", "qcow2", *options, target, str(size))
    return target


def io(target: Path, *commands: str) -> Path:
    run("qemu-io", "-f", "qcow2", *(word for command in commands for word in ("-c", command)), target)
    return target


def as_raw(path: Path) -> bytes:
    """The media as qemu-img converts it."""
    out = path.with_name(path.name + ".witness")
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, out)
    media = out.read_bytes()
    out.unlink()
    return media


def poke(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def peek(path: Path, offset: int, layout: str) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        (value,) = struct.unpack(layout, file.read(struct.calcsize(layout)))
    assert isinstance(value, int)
    return value


def flip(path: Path, offset: int, bit: int = 0) -> None:
    poke(path, offset, bytes([peek(path, offset, "B") ^ 1 << bit]))


def l2_tables(path: Path) -> list[int]:
    """Where the L2 tables lie, in the order of the L1 table; 0 where there is none."""
    l1_size, l1_offset = peek(path, 36, ">I"), peek(path, 40, ">Q")
    return [peek(path, l1_offset + 8 * index, ">Q") & 0x00FFFFFFFFFFFE00 for index in range(l1_size)]


def l2_entries(path: Path, table: int, count: int) -> Sequence[int]:
    return [peek(path, table + 8 * index, ">Q") for index in range(count)]

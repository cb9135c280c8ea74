"""What the fuzzer does to an image: the same to the same seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.containers.fuzz_samples import Sample

_NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


def mutate(sample: Sample, seed: int) -> tuple[dict[int, bytes | None], str]:
    """Return the files that change (None: gone) and, in words, how."""
    rng = random.Random(seed)
    if len(sample.paths) > 1 and rng.random() < 0.03:
        return _mutate_files(sample, rng)
    index, start, end = (
        rng.choice(sample.hot) if rng.random() < 0.75 else (rng.randrange(len(sample.paths)), 0, -1)
    )
    data = bytearray(sample.paths[index].read_bytes())
    told = []
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(start, end if end > start else max(1, len(data)))
        told.append(_mutate_at(data, min(at, max(0, len(data) - 1)), rng))
        for guard in sample.guards:
            if (
                guard.file == index
                and guard.start <= at < guard.end
                and guard.at + 4 <= len(data)
                and rng.random() < 0.6
            ):
                guard.renew(data)
                told.append(f"checksum at {guard.at} made right")
    return {index: bytes(data)}, f"{sample.paths[index].name}: {', '.join(told)}"


def _mutate_files(sample: Sample, rng: random.Random) -> tuple[dict[int, bytes | None], str]:
    one, two = rng.sample(range(len(sample.paths)), 2)
    left, right = sample.paths[one].read_bytes(), sample.paths[two].read_bytes()
    kind = rng.choice(["swapped", "copied", "gone", "empty"])
    changes: dict[str, dict[int, bytes | None]] = {
        "swapped": {one: right, two: left},
        "copied": {one: right},
        "gone": {one: None},
        "empty": {one: b""},
    }
    return changes[kind], f"{sample.paths[one].name} {kind} ({sample.paths[two].name})"


def _mutate_at(data: bytearray, at: int, rng: random.Random) -> str:
    kind = rng.choice(
        [
            "bit",
            "bit",
            "byte",
            "number",
            "number",
            "number",
            "add",
            "zeros",
            "copy",
            "insert",
            "delete",
            "cut",
            "grow",
        ]
    )
    width = rng.choice([1, 2, 4, 8])
    order = rng.choice(["little", "big"])
    if not data:
        kind = "grow"
    if kind == "bit":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        data[at] = rng.randrange(256)
    elif kind == "number":
        value = rng.choice([*_NUMBERS, len(data), rng.randrange(len(data) + 1), rng.getrandbits(64)])
        data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, order)[: len(data) - at]  # type: ignore[arg-type]
    elif kind == "add":
        field = data[at : at + width]
        value = int.from_bytes(field, order) + rng.choice([-512, -4, -1, 1, 4, 512])  # type: ignore[arg-type]
        data[at : at + width] = (value % (1 << 8 * len(field))).to_bytes(len(field), order)  # type: ignore[arg-type]
    elif kind == "zeros":
        length = min(rng.choice([4, 16, 76, 512, 4096]), len(data) - at)
        data[at : at + length] = bytes([rng.choice([0, 255])]) * length
    elif kind == "copy":
        source, length = rng.randrange(len(data)), rng.choice([4, 76, 512])
        piece = data[source : source + length][: len(data) - at]
        data[at : at + len(piece)] = piece
    elif kind == "insert":
        data[at:at] = rng.randbytes(rng.choice([1, 4, 76, 512]))
    elif kind == "delete":
        del data[at : at + rng.choice([1, 4, 76, 512])]
    elif kind == "cut":
        del data[at:]
    else:
        data += rng.randbytes(rng.choice([1, 76, 512, 65536]))
    return f"{kind} {width}{order[0]} at {at}"

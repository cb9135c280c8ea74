"""Answer: one question of the self-test; and the known answers that ship with the package."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, and whether it was answered as it should be.

    Attributes:
        name: Stable and dotted: `hash.sha256`, `table.gpt_ok`, `log.cut-tail`.
        ok: None where this host or user cannot ask the question (an attach without root).
        detail: What was compared, or what differed.
    """

    name: str
    ok: bool | None
    detail: str


def known_answers() -> dict[str, Any]:
    """The content of answers.json: digests of strings and images, tables and findings of images."""
    answers: dict[str, Any] = json.loads(_folder().joinpath("answers.json").read_bytes())
    return answers


def known_image(name: str) -> bytes:
    """The media of one packaged image, at most 4 MiB."""
    return known_file(f"{name}.img")


def known_file(name: str) -> bytes:
    """The content of one packaged file, at most 8 MiB."""
    return gzip.decompress(_folder().joinpath(f"{name}.gz").read_bytes())


def _folder() -> Any:
    return files("imgkit").joinpath("known_answers")


def compared(name: str, expected: object, actual: object, what: str) -> Answer:
    """The answer to "are these equal", with both sides where they are not."""
    if expected == actual:
        return Answer(name, ok=True, detail=what)
    return Answer(name, ok=False, detail=f"{what}: expected {expected}, got {actual}")

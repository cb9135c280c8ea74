"""Known answers, asked on this host with what is installed here: for a laboratory's validation file."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from imgkit.errors import ImgkitError
from imgkit.selftest.answers import Answer, known_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Answer", "run_selftest"]


def run_selftest(*, folder: str | None = None) -> list[Answer]:
    """Ask everything, and return every answer; nothing is left behind.

    Args:
        folder: Where the temporary folder is made; the system's place for such by default.
    """
    return list(ask(folder))


def ask(folder: str | None = None) -> Iterator[Answer]:
    """Yield the answers as they come."""
    from imgkit.selftest.containers import ask_containers  # noqa: PLC0415
    from imgkit.selftest.devices import ask_attach  # noqa: PLC0415  (every reader and writer: only where used)
    from imgkit.selftest.hashes import ask_hashes  # noqa: PLC0415
    from imgkit.selftest.logs import ask_logs  # noqa: PLC0415
    from imgkit.selftest.tables import ask_tables  # noqa: PLC0415

    known = known_answers()
    with tempfile.TemporaryDirectory(prefix="imgkit-selftest-", dir=folder) as work:
        for name, part in (
            ("hash", ask_hashes),
            ("table", ask_tables),
            ("container", ask_containers),
            ("log", ask_logs),
            ("attach", ask_attach),
        ):
            yield from _part(name, part, known, work)


def _part(
    name: str,
    part: Callable[[Mapping[str, Any], str], Iterable[Answer]],
    known: Mapping[str, Any],
    folder: str,
) -> Iterator[Answer]:
    """An error in one part is an answer like any other: the rest is asked all the same."""
    try:
        yield from part(known, folder)
    except (ImgkitError, OSError) as error:
        yield Answer(f"{name}.error", ok=False, detail=f"{type(error).__name__}: {error}")

"""By which names a path leads to its file: a set is found by the names that its symlinks have, or by those they lead to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeVar

from imgkit.errors import MissingSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_LINKS = 40  # as the kernel's


class _FoundPaths(Protocol):
    @property
    def paths(self) -> tuple[str, ...]: ...


_Found = TypeVar("_Found", bound=_FoundPaths)


def sets_along(path: str, beside: Callable[[str], _Found]) -> list[_Found]:
    """Ask `beside` which files are of one set with each name on the way from `path` (absolute) to its file.

    Returns:
        The first set of several files, alone; where there is none the single files, by the names on the way.

    Raises:
        MissingSegment: By the first name that is one of a set, where no other name finds a set of several files.
    """
    singles: list[_Found] = []
    missing: MissingSegment | None = None
    for name in _names_along(path):
        try:
            found = beside(name)
        except MissingSegment as error:
            missing = missing or error
            continue
        if len(found.paths) > 1:
            return [found]
        singles.append(found)
    if missing is not None:
        raise missing
    return singles


def _names_along(path: str) -> Iterator[str]:
    """`path`, and what each symlink at its end leads to, one step at a time."""
    yield path
    for _ in range(_MOST_LINKS):
        try:
            link = os.readlink(path)
        except OSError:
            return  # the file itself
        target = os.path.join(os.path.realpath(os.path.dirname(path)), link)
        path = os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))
        yield path

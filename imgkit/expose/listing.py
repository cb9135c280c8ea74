"""Which exposures there are, from the kernel alone; and the end of one that was left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgkit.expose.facts import ExposureFacts


def list_exposures() -> list[ExposureFacts]:
    """Every exposure whose process can be seen from here."""
    raise NotImplementedError


def stop(facts: ExposureFacts) -> None:
    """End the process of an exposure (SIGTERM, then SIGKILL); nothing happens if it has ended already.

    Raises:
        NotPermitted: It is another user's.
    """
    raise NotImplementedError

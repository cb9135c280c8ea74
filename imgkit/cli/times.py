"""Times on screen: UTC with the local offset of whoever recorded them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def local_time(stamp: Mapping[str, Any]) -> str:
    """`2026-05-01 12:34:56Z (+02:00)` of a record's time stamp."""
    utc = str(stamp["utc"])
    return f"{utc[:10]} {utc[11:19]}Z ({stamp['tz']})"

"""How take-downs ended, devices' and exposures' alike: told on standard error, and as an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.cli.exit_codes import MISMATCH, TROUBLE
from imgkit.cli.output import notice, tell_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgkit.examination.takedown import Ending


def tell_ending(where: str, item: Ending) -> None:
    """Say what kept it up, where it is recorded, and what differs from how it was put up."""
    if item.error is not None:
        tell_error(item.error.message, item.error.hint)
    if item.lines:
        notice(f"{where}: recorded in log {item.log}, line {max(item.lines)}")
    if item.unrecorded:
        notice(f"{where}: RECORDED NOWHERE: {item.unrecorded}; write down by hand what was done")
    elif item.spooled:
        notice(
            f"{where}: NOT YET IN THE CASE LOG: {item.spooled}; the next run that reaches it imports the records"
        )
    for text in item.changed:
        notice(f"{where}: EVIDENCE CHANGED: {text}")
    for text in item.touched:
        notice(f"{where}: touched: {text}; verify the image")


def code_of(done: Sequence[Ending]) -> int:
    """The exit code: what differs beats what failed."""
    if any(item.changed for item in done):
        return MISMATCH
    return TROUBLE if any(item.error or item.spooled or item.unrecorded for item in done) else 0

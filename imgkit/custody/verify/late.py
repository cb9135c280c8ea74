"""What a verification loads only where there is something to verify with it: for a run that gives up rights before."""

from __future__ import annotations


def load_late() -> None:
    """Load it now: the user whose rights are taken next may not see root's libraries (a Python in root's home)."""
    import concurrent.futures.thread  # noqa: F401, PLC0415
    import subprocess  # noqa: F401, PLC0415

    from imgkit.custody import ssh, stamps  # noqa: F401, PLC0415
    from imgkit.custody.stamp_trust import load  # noqa: PLC0415

    load()

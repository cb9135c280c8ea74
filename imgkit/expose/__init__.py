"""An image that is not one plain file, served by a process of its own as one read-only file over FUSE.

Names are loaded when they are first used: the process that serves needs half of this package, and starts all the faster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgkit.expose.detached import Exposure, expose_detached
    from imgkit.expose.facts import ExposureFacts, ExposureGuard
    from imgkit.expose.listing import list_exposures, stop
    from imgkit.expose.placed import expose_at, unexpose

_HOME = {
    "Exposure": "detached",
    "ExposureFacts": "facts",
    "ExposureGuard": "facts",
    "expose_at": "placed",
    "expose_detached": "detached",
    "list_exposures": "listing",
    "stop": "listing",
    "unexpose": "placed",
}

__all__ = [
    "Exposure",
    "ExposureFacts",
    "ExposureGuard",
    "expose_at",
    "expose_detached",
    "list_exposures",
    "stop",
    "unexpose",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

"""An image that is not one plain file, served by a process of its own as one read-only file over FUSE."""

from __future__ import annotations

from imgkit.expose.detached import Exposure, expose_detached
from imgkit.expose.facts import ExposureFacts, ExposureGuard
from imgkit.expose.listing import list_exposures, stop
from imgkit.expose.placed import expose_at, unexpose

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

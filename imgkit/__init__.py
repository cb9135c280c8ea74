"""imgkit: verify, inspect, attach and mount disk images as evidence."""

from __future__ import annotations

__version__ = "0.1.0"

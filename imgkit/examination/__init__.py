"""One examiner, one case: every operation goes through an Examination and leaves its records: intent, act, outcome.

One file for each kind of act; examination.py ties them together and is loaded when it is first asked for: `status`
needs none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgkit.examination.examination import Evidence, Examination

__all__ = ["Evidence", "Examination"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from imgkit.examination import examination

        return getattr(examination, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What a verifier brings from outside the case folder, and that it does come from there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgkit.custody.checkpoint import Receipt


@dataclass(frozen=True, slots=True)
class Outside:
    """What a verifier brings: nothing in the case folder can vouch for itself.

    Attributes:
        signers: An allowed_signers file (ssh-keygen(1)).
        revoked: A KRL, or a list of public keys, that are no longer trusted.
        tsa_roots: Certificates in PEM of the authorities whose time stamps count.
        receipts: Receipts, their texts, or files that hold some.

    A list, certificates or a receipt that lies in the case folder is no such thing, whoever names it: see lies_in.
    """

    signers: str | os.PathLike[str] | None = None
    revoked: str | os.PathLike[str] | None = None
    tsa_roots: str | os.PathLike[str] | None = None
    receipts: tuple[Receipt | str, ...] = ()


def lies_in(folder: str | None, path: str | os.PathLike[str] | None) -> bool:
    """Whether a file that was named lies in the case folder, links followed: the folder cannot vouch for itself."""
    if folder is None or path is None:
        return False
    place, file = os.path.realpath(folder), os.path.realpath(path)
    return os.path.commonpath([place, file]) == place

"""What earlier runs left, as far as it can be seen from here: never guessed, never called gone while it may be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgkit.errors import NotPermitted
from imgkit.examination.ledger import AttachmentRecord, Ledger, fold
from imgkit.examination.reconcile import current_boot_id, is_gone, look_at_world
from imgkit.linux import sysblock

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgkit.attachment import Attachment

LOG = "6f1c1f3e-2a5b-4a53-9d25-0f7d4f2f7f10"
ACTOR = {"name": "Jane Doe", "id": "jane@lab"}


def known(*, diskseq: int = 7, boot_id: str | None = None) -> AttachmentRecord:
    data = {"device": "/dev/loop93", "diskseq": diskseq}
    return AttachmentRecord("op", 12, "EX1", ACTOR, data, boot_id or current_boot_id())


def forbidden() -> list[Attachment]:
    raise NotPermitted("cannot open /dev/loop93: Permission denied")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A kernel that shows loop93 as it is told to."""

    def show(*, bound: bool, diskseq: int | None, look: Callable[[], list[Attachment]] = list) -> None:
        monkeypatch.setattr(sysblock, "loop_is_bound", lambda _: bound)
        monkeypatch.setattr(sysblock, "read_number", lambda *_: diskseq)
        monkeypatch.setattr("imgkit.attachment.list_attachments", look)

    return show


def test_gone(kernel: Callable[..., None]) -> None:
    kernel(bound=False, diskseq=7)
    assert is_gone(known(), LOG)
    kernel(bound=True, diskseq=7)
    assert not is_gone(known(), LOG)
    assert is_gone(known(boot_id="another boot"), LOG)
    kernel(bound=True, diskseq=8)  # bound anew, and the label is nowhere
    assert is_gone(known(), LOG)


def test_what_cannot_be_seen_is_not_gone(kernel: Callable[..., None]) -> None:
    """Another diskseq may be LOOP_CHANGE_FD's: only the label tells, and only root reads it."""
    kernel(bound=True, diskseq=8, look=forbidden)
    assert not is_gone(known(), LOG)
    kernel(bound=True, diskseq=None, look=forbidden)  # before 5.15
    assert not is_gone(known(diskseq=0), LOG)


def intent(kind: str, **data: Any) -> dict[str, Any]:
    time = {"boot_id": current_boot_id()}
    return {"type": kind, "log": LOG, "seq": 12, "op": "op", "time": time, "data": data}


def test_without_root_nothing_is_guessed(kernel: Callable[..., None]) -> None:
    kernel(bound=True, diskseq=8, look=forbidden)
    assert look_at_world(intent("evidence.attached"), Ledger()) == (
        "unknown",
        {"devices": "not permitted to look"},
    )


def test_nothing_is_bound(kernel: Callable[..., None]) -> None:
    kernel(bound=False, diskseq=None)
    assert look_at_world(intent("evidence.attached"), Ledger()) == ("interrupted", {"devices": []})
    mounted = intent("evidence.mounted", attached_line=10, target="/nowhere", source="/dev/loop93")
    assert look_at_world(mounted, Ledger()) == ("interrupted", {"devices": [], "mounted": False})
    detached = intent("evidence.detached", attached_line=10)
    assert look_at_world(detached, Ledger()) == ("unknown", {"device_bound": False})
    assert look_at_world(intent("evidence.hashed"), Ledger()) == ("interrupted", {})


def test_a_device_that_was_seen_is_an_attachment() -> None:
    """An attach that was killed when its device was seen: the ledger waits for its end like for any other."""
    began = {**intent("evidence.attached"), "phase": "intent", "seq": 2, "exhibit": "EX1", "actor": ACTOR}

    def told(devices: list[str]) -> dict[str, Any]:
        seen = {"op": "op", "line": 2, "result": "unknown", "seen": {"devices": devices}}
        return {**intent("op.reconciled", **seen), "phase": "event", "seq": 3, "actor": ACTOR}

    assert fold([began, told(["/dev/loop93"])]).attachments[2].data["device"] == "/dev/loop93"
    assert fold([began, told([])]).attachments == {}

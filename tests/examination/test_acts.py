"""One act: what its outcome says of the error or the signal that ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgkit.cli import Terminated, _terminate
from imgkit.custody.log import CustodyLog
from imgkit.custody.reading import read_records
from imgkit.custody.session import Actor, Session
from imgkit.custody.state import StateFolder
from imgkit.errors import AttachError
from imgkit.examination.acts import Act

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CustodyLog]:
    state = StateFolder(tmp_path / "state")
    with Session(Actor(name="Jane Doe", id="jane@lab"), state, argv=["imgkit"]) as session:
        yield CustodyLog.create(str(tmp_path / "case"), session, data={})


def interrupted() -> None:
    raise KeyboardInterrupt


def terminated() -> None:
    _terminate(15, None)


def broken() -> None:
    raise AttachError("the kernel refused")


@pytest.mark.parametrize(
    ("stop", "kind", "result", "text"),
    [
        (interrupted, KeyboardInterrupt, "interrupted", "stopped by SIGINT"),
        (terminated, Terminated, "interrupted", "stopped by SIGTERM"),
        (broken, AttachError, "failed", "the kernel refused"),
    ],
)
def test_what_ended_it_is_named(
    log: CustodyLog, stop: Callable[[], None], kind: type[BaseException], result: str, text: str
) -> None:
    act = Act(log, "evidence.inspected", {}, on_written=bool)
    with pytest.raises(kind), act:
        stop()
    *_, outcome = read_records(log.path)
    assert outcome["result"] == result
    assert outcome["error"] == {"class": kind.__name__, "text": text}

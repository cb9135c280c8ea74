"""Documents and descriptors between the command and the process that serves."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.expose.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    pair = tuple(Channel(end) for end in socket.socketpair())
    yield pair[0], pair[1]
    for end in pair:
        end.close()


def test_documents_of_any_size_and_bytes(ends: tuple[Channel, Channel]) -> None:
    documents: list[dict[str, Any]] = [
        {"a": 1},
        {"path": os.fsdecode(b"\xff\n")},
        {"files": [["x" * 100, n] for n in range(20_000)]},
    ]

    def send() -> None:
        for document in documents:
            ends[0].send(document)

    sender = threading.Thread(target=send)
    sender.start()
    assert [ends[1].receive() for _ in documents] == [(document, []) for document in documents]
    sender.join()


def test_descriptors(ends: tuple[Channel, Channel]) -> None:
    reading, writing = os.pipe()
    ends[0].send({"here": True}, (writing,) * 64)
    document, fds = ends[1].receive()
    assert (document, len(fds)) == ({"here": True}, 64)
    assert not any(os.get_inheritable(fd) for fd in fds)
    for fd in (writing, *fds):
        os.close(fd)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_the_end(ends: tuple[Channel, Channel]) -> None:
    ends[0].close()
    with pytest.raises(EOFError):
        ends[1].receive()


def test_an_end_in_the_middle() -> None:
    ours, theirs = socket.socketpair()
    ours.send((100).to_bytes(8, "little") + b"{")
    ours.close()
    channel = Channel(theirs)
    with pytest.raises(EOFError):
        channel.receive()
    channel.close()


def test_a_length_that_cannot_be_meant() -> None:
    ours, theirs = socket.socketpair()
    ours.send((1 << 62).to_bytes(8, "little"))
    channel = Channel(theirs)
    with pytest.raises(EOFError):
        channel.receive()
    ours.close()
    channel.close()


def test_a_limit(ends: tuple[Channel, Channel]) -> None:
    ends[0].limit(0.01)
    with pytest.raises(TimeoutError):
        ends[0].receive()

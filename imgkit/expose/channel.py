"""How the command and the process that serves talk while it comes up: JSON documents, and descriptors beside them."""

from __future__ import annotations

import array
import json
import os
import select
import socket
from typing import Any

_LENGTH_BYTES = 8
_LARGEST = 64 << 20  # a document; a set of 50,000 files takes 10 MiB
_FDS_AT_ONCE = 64  # SCM_MAX_FD is 253


def receive_descriptors(end: socket.socket, length: int, most: int) -> tuple[bytes, list[int]]:
    """Up to `length` bytes and the descriptors beside them, not inheritable (socket.recv_fds drops its flags).

    Raises:
        OSError: As recvmsg(2).
    """
    fds = array.array("i")
    said, extra, _, _ = end.recvmsg(length, socket.CMSG_LEN(most * fds.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return said, list(fds)


class Channel:
    """One end of a connected pair of stream sockets. Owns it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def limit(self, seconds: float | None) -> None:
        """From now on an operation that takes longer raises TimeoutError."""
        self._end.settimeout(seconds)

    def is_answered(self, seconds: float) -> bool:
        """Whether within that time there is something to receive, be it the end."""
        return bool(select.select([self._end], [], [], seconds)[0])

    def send(self, document: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send a document, and copies of up to 64 descriptors.

        Raises:
            OSError: The other end is gone, or takes nothing in time.
        """
        raw = json.dumps(document).encode("ascii")
        head = len(raw).to_bytes(_LENGTH_BYTES, "little")
        if fds:
            socket.send_fds(self._end, [head], list(fds))  # so few bytes are never sent in part
        else:
            self._end.sendall(head)
        self._end.sendall(raw)

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """The next document and its descriptors.

        Raises:
            EOFError: The other end is gone.
            OSError: TimeoutError and whatever else the kernel says.
        """
        head, fds = receive_descriptors(self._end, _LENGTH_BYTES, _FDS_AT_ONCE)
        if head and len(head) < _LENGTH_BYTES:
            head += self._exactly(_LENGTH_BYTES - len(head))
        length = int.from_bytes(head, "little")
        if not head or length > _LARGEST:
            for fd in fds:
                os.close(fd)
            raise EOFError
        return json.loads(self._exactly(length)), fds

    def _exactly(self, length: int) -> bytes:
        buffer = bytearray(length)
        view = memoryview(buffer)
        done = 0
        while done < length:
            count = self._end.recv_into(view[done:])
            if count == 0:
                raise EOFError
            done += count
        return bytes(buffer)

    def close(self) -> None:
        """Close this end: the other one is told that nothing more comes."""
        self._end.close()

"""Asking a time-stamp authority over HTTP (RFC 3161, section 3.4): the query goes there, and nothing else does.

No redirect is followed: what may learn of a case's checkpoint is the authority that was named. The time is bounded as a
whole, however slowly the other side dribbles, and so is what it sends.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import printable
from imgkit.custody.stamp_reply import REPLY_LIMIT
from imgkit.errors import HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPConnection, HTTPResponse

SECONDS = 20.0
_QUERY_TYPE = "application/timestamp-query"
_REPLY_TYPE = "application/timestamp-reply"
_BLOCK = 1 << 16
_URL_CHARACTERS = re.compile(r"[\x21-\x7e]{1,2000}")


def host_of(url: str) -> str:
    """Return the host that a URL of an authority names.

    Raises:
        UsageError: It is no http or https URL, or holds a password.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - only who asks an authority pays for it

    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host, parts = None, None
    if (
        parts is None
        or not host
        or parts.scheme not in {"http", "https"}
        or not _URL_CHARACTERS.fullmatch(url)
    ):
        raise UsageError(
            f"{url!r} is no URL of a time-stamp authority", hint="http://HOST/PATH, or https://…"
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "a URL of an authority with a user or password in it would be recorded; it is refused"
        )
    return host


def ask(url: str, query: bytes, *, timeout: float = SECONDS) -> bytes:
    """Send a query to an authority; return what it replied, whatever that is.

    Args:
        url: http or https.
        query: A TimeStampReq: all that is sent.
        timeout: Seconds for all of it once there is a connection.

    Raises:
        UsageError: It is no such URL.
        HostError: No network, no such host, no answer in time, another answer than 200, or more than a reply has.
    """
    from http.client import HTTPException  # noqa: PLC0415 - only who asks an authority pays for it
    from urllib.error import HTTPError, URLError  # noqa: PLC0415

    host_of(url)
    exchange = _Exchange(url, timeout)
    try:
        return exchange.run(query)
    except HTTPError as error:
        with contextlib.closing(error):
            raise _refused(url, error) from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        if exchange.is_over:
            raise _late(url, timeout) from error
        raise HostError(f"cannot ask the time-stamp authority {url}: {_why(error)}", hint=_OFFLINE) from error


_OFFLINE = "without a network: --request FILE here, --reply FILE with what the authority answered"


def _why(error: Exception) -> str:
    """The kernel's words where it was the kernel, without its numbers."""
    cause = getattr(error, "reason", None) or error
    return printable(str(getattr(cause, "strerror", None) or cause))[:200]


def _late(url: str, timeout: float) -> HostError:
    return HostError(f"the time-stamp authority {url} did not answer within {timeout:.0f} s", hint=_OFFLINE)


def _refused(url: str, error: Any) -> HostError:
    place = error.headers.get("Location") if error.headers is not None else None
    if place is not None and 300 <= error.code < 400:  # noqa: PLR2004 - HTTP's own classes
        shown = printable(place)[:200]
        return HostError(
            f"the time-stamp authority {url} points to {shown}, and no redirect is followed",
            hint="name that place with --url if it is the authority",
        )
    reason = printable(str(error.reason))[:100]
    return HostError(f"the time-stamp authority {url} answered {error.code} {reason}")


class _Exchange:
    """One request, cut off when its time is up.

    Attributes:
        is_over: Whether the time was up.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._until = time.monotonic() + timeout
        self._sockets: list[socket.socket] = []
        self.is_over = False

    def run(self, query: bytes) -> bytes:
        from threading import Timer  # noqa: PLC0415 - only who asks an authority pays for it
        from urllib.request import Request  # noqa: PLC0415

        headers = {"Content-Type": _QUERY_TYPE, "Accept": _REPLY_TYPE, "User-Agent": "imgkit"}
        request = Request(self._url, data=query, headers=headers, method="POST")  # noqa: S310 - host_of saw the scheme
        timer = Timer(self._timeout, self._end)
        timer.daemon = True
        timer.start()
        try:
            with self._opener().open(request, timeout=self._timeout) as response:
                return self._read(response)
        except TimeoutError:
            self.is_over = True
            raise
        finally:
            timer.cancel()

    def _read(self, response: HTTPResponse) -> bytes:
        if response.status != 200:  # noqa: PLR2004 - HTTP's own code
            raise ValueError(f"it answered {response.status}")
        blocks, size = list[bytes](), 0
        while block := response.read1(_BLOCK):
            blocks.append(block)
            size += len(block)
            if size > REPLY_LIMIT:
                raise ValueError(f"it sent more than {REPLY_LIMIT:,} bytes, which no time-stamp reply has")
        if response.length:
            raise ValueError("its answer was cut off")
        if self.is_over or time.monotonic() > self._until:
            self.is_over = True
            raise TimeoutError
        return b"".join(blocks)

    def _end(self) -> None:
        """Cut the connection: a wait for the next byte would begin anew with each one."""
        self.is_over = True
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _opener(self) -> Any:
        """HTTP, HTTPS and the proxies of the environment; no redirects, no cookies, no passwords, no files."""
        from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415
        from urllib import request  # noqa: PLC0415

        exchange = self

        class Http(request.HTTPHandler):
            def http_open(self, req: request.Request) -> HTTPResponse:
                return self.do_open(exchange.remembered(HTTPConnection), req)

        class Https(request.HTTPSHandler):
            def https_open(self, req: request.Request) -> HTTPResponse:
                return self.do_open(exchange.remembered(HTTPSConnection), req)

        opener = request.OpenerDirector()
        kinds = (
            request.ProxyHandler,
            Http,
            Https,
            request.HTTPErrorProcessor,
            request.HTTPDefaultErrorHandler,
        )
        for kind in kinds:
            opener.add_handler(kind())
        opener.addheaders = []
        return opener

    def remembered(self, kind: Callable[..., HTTPConnection]) -> Callable[..., HTTPConnection]:
        """Make connections whose sockets can be cut off: urllib lets go of them once the answer begins."""
        sockets = self._sockets

        def make(*words: Any, **options: Any) -> HTTPConnection:
            connection = kind(*words, **options)
            connect = connection.connect

            def connect_and_remember() -> None:
                connect()
                sockets.append(connection.sock)

            connection.connect = connect_and_remember  # type: ignore[method-assign]
            return connection

        return make

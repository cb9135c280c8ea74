"""Asking an authority on loopback: what it gets, and everything that is no reply."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from imgkit.custody.authority import ask, host_of
from imgkit.custody.stamps import check_reply, request
from imgkit.errors import HostError, UsageError
from tests.custody.tsa import Authority, Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUMS = b"the sums of a checkpoint\n"
HTML = (200, {"Content-Type": "text/html"}, b"<html><body>Please log in</body></html>")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_it_gets_the_query_and_nothing_else(tmp_path: Path) -> None:
    authority, query = Authority(tmp_path), request(SUMS)
    with Served.of(authority) as served:
        reply = ask(served.url, query.der)
    assert check_reply(reply, sums=SUMS, nonce=query.nonce, roots=authority.roots).trusted
    (asked,) = served.asked
    assert asked.body == query.der
    assert asked.path == "/tsr"
    assert asked.headers == {
        "Host": served.url.split("/")[2],
        "User-Agent": "imgkit",
        "Content-Type": "application/timestamp-query",
        "Accept": "application/timestamp-reply",
        "Accept-Encoding": "identity",
        "Content-Length": str(len(query.der)),
        "Connection": "close",
    }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["same", "https://127.0.0.1:1/", "file:///etc/passwd"])
def test_no_redirect_is_followed(status: int, where: str) -> None:
    other = Served(lambda _query: HTML)
    with (
        other,
        Served(lambda _query: (status, {"Location": other.url if where == "same" else where}, b"")) as served,
    ):
        with pytest.raises(HostError, match="no redirect is followed") as caught:
            ask(served.url, b"query")
        assert (other.url if where == "same" else where) in caught.value.message
    assert other.asked == []
    assert len(served.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 405, 500, 503])
def test_a_failure_of_the_authority(status: int) -> None:
    with (
        Served(lambda _query: (status, {}, b"no")) as served,
        pytest.raises(HostError, match=f"answered {status}"),
    ):
        ask(served.url, b"query")


def test_204_is_no_answer() -> None:
    with Served(lambda _query: (204, {}, b"")) as served, pytest.raises(HostError, match="answered 204"):
        ask(served.url, b"query")


def test_a_reason_with_escape_codes_is_shown_escaped() -> None:
    def answer(reader: socket.socket) -> None:
        reader.sendall(b"HTTP/1.1 500 \x1b[31mred\r\nContent-Length: 0\r\n\r\n")

    with raw(answer) as url, pytest.raises(HostError) as caught:
        ask(url, b"query")
    assert "\x1b" not in caught.value.message


def test_a_web_page_is_returned_as_it_is_and_is_no_stamp() -> None:
    with Served(lambda _query: HTML) as served:
        reply = ask(served.url, b"query")
    assert [problem.text for problem in check_reply(reply, sums=SUMS).problems] == [
        "no time-stamp reply: it is a web page"
    ]


def test_more_than_a_reply_has() -> None:
    with (
        Served(lambda _query: (200, {}, bytes(3 << 20))) as served,
        pytest.raises(HostError, match="more than 1,048,576 bytes"),
    ):
        ask(served.url, b"query")


@contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server below HTTP: `answer` gets the connection once a request is there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _address = listening.accept()
            with connection:
                connection.recv(65536)
                try:
                    answer(connection)
                except OSError:
                    return  # the other side had enough

        thread = Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            thread.join()


def dribbling(sent: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(sent)
        for _tick in range(600):
            time.sleep(0.1)
            connection.sendall(b"x")

    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"",
    ],
    ids=["header", "body", "endless", "chunk", "status"],
)
def test_an_authority_that_dribbles_is_cut_off(sent: bytes) -> None:
    started = time.monotonic()
    with raw(dribbling(sent)) as url, pytest.raises(HostError, match="did not answer within 1 s"):
        ask(url, b"query", timeout=1)
    assert time.monotonic() - started < 30  # it would go on for a minute


def test_an_authority_that_says_nothing() -> None:
    done = Event()

    def answer(_connection: socket.socket) -> None:
        done.wait(20)

    with raw(answer) as url:
        with pytest.raises(HostError, match="did not answer within 1 s") as caught:
            ask(url, b"query", timeout=1)
        done.set()
    assert "--request" in str(caught.value.hint)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x00\x01\x02\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
    ],
    ids=["nothing", "binary", "ssh", "cut", "cut-chunk"],
)
def test_something_else_listens_there_or_stops_in_the_middle(sent: bytes) -> None:
    with (
        raw(lambda connection: connection.sendall(sent)) as url,
        pytest.raises(HostError, match="cannot ask"),
    ):
        ask(url, b"query", timeout=5)


def test_nobody_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(HostError, match="Connection refused") as caught:
        ask(f"http://127.0.0.1:{port}/", b"query")
    assert "--request" in str(caught.value.hint)


def test_no_such_host() -> None:
    with pytest.raises(HostError, match="cannot ask the time-stamp authority"):
        ask("http://tsa.invalid/", b"query", timeout=5)


def test_https_wants_a_certificate_of_the_host(tmp_path: Path) -> None:
    import ssl

    from tests.custody.tsa import issue

    own = issue("127.0.0.1")
    (tmp_path / "server.pem").write_bytes(own.pem + own.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _address = listening.accept()
            with connection, pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_side=True)

        thread = Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(HostError, match=r"(?i)certificate"):
                ask(f"https://127.0.0.1:{listening.getsockname()[1]}/", b"query", timeout=5)
        finally:
            thread.join()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tsa.example",
        "ftp://tsa.example/",
        "file:///etc/passwd",
        "http://",
        "http://tsa.example:port/",
        "http://tsa.example/a b",
        "http://tsa.example/\r\nX: y",
        "http://tsa.example/\u202e",
        "http://[::1",
        "http://jane:secret@tsa.example/",
        "http://jane@tsa.example/",
    ],
)
def test_what_is_no_url_of_an_authority(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(url, b"query")
    assert "secret" not in caught.value.message


def test_the_host_names_the_authority() -> None:
    assert host_of("HTTP://TSA.Example:318/tsr?x=y") == "tsa.example"
    assert host_of("https://[::1]/") == "::1"

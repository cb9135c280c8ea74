"""log timestamp and log receipt, as typed: an authority on loopback, no network, other machines, a scanner."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest
import segno

from tests.custody.tsa import NOW, YEAR, Authority, Served, issue, make_info, make_reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.running import Imgkit

CANARIES = ("2026-CANARY", "Jane Doe", "jane@lab.example", "laptop-canary")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tsa")


@pytest.fixture
def case(imgkit: Imgkit) -> str:
    """A case with a checkpoint."""
    imgkit.env["no_proxy"] = "*"
    imgkit("case", "new", "case", "--number", "2026-CANARY", "--title", "laptop-canary").ended(0)
    imgkit("log", "checkpoint", "case").ended(0)
    return "case"


def records(imgkit: Imgkit, kind: str) -> list[dict[str, Any]]:
    text = (imgkit.folder / "case" / "custody.jsonl").read_text()
    return [record for record in map(json.loads, text.splitlines()) if record["type"] == kind]


def test_online(imgkit: Imgkit, case: str, authority: Authority) -> None:
    with Served.of(authority) as served:
        words = (
            "log",
            "timestamp",
            case,
            "--url",
            served.url,
            "--tsa-roots",
            authority.roots,
            "--reason",
            "hearing",
        )
        document = imgkit(*words, "--json").ended(0).json
    assert document["stamped"] is document["trusted"] is True
    assert (document["n"], document["tsa"], document["name"], document["problems"]) == (
        1,
        "127.0.0.1",
        "Test TSA",
        [],
    )
    kept = imgkit.folder / "case" / "checkpoints" / "000001.sums.127.0.0.1.tsr"
    assert document["file"] == str(kept)
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == document["sha256"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o440
    (record,) = records(imgkit, "log.anchored")
    assert record["reason"] == "hearing"
    assert document["records"]["seq"] == [record["seq"], record["seq"]]
    verified = imgkit("log", "verify", case, "--tsa-roots", authority.roots, "--json").ended(0).json
    codes = {finding["code"] for finding in verified["findings"]}
    assert not codes & {"TIMESTAMP_MISSING", "BAD_TIMESTAMP", "EXTRA_FILE", "SELF_ASSERTED"}


def test_what_a_stranger_runs_agrees(imgkit: Imgkit, case: str, authority: Authority) -> None:
    with Served.of(authority) as served:
        imgkit("log", "timestamp", case, "--url", served.url).ended(0)
    words = ["openssl", "ts", "-verify", "-data", "000001.sums", "-in", "000001.sums.127.0.0.1.tsr"]
    folder = imgkit.folder / "case" / "checkpoints"
    done = subprocess.run([*words, "-CAfile", authority.roots], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    subprocess.run(["sha256sum", "--check", "--quiet", "000001.sums"], cwd=folder, check=True)


def test_nothing_leaves_but_the_digest(imgkit: Imgkit, case: str, authority: Authority) -> None:
    with Served.of(authority) as served:
        imgkit("log", "timestamp", case, "--url", served.url).ended(0)
    (asked,) = served.asked
    digest = hashlib.sha256((imgkit.folder / case / "checkpoints" / "000001.sums").read_bytes()).digest()
    assert digest in asked.body
    assert len(asked.body) <= 80
    everything = asked.body + asked.path.encode() + json.dumps(asked.headers).encode()
    log = (imgkit.folder / case / "custody.jsonl").read_bytes()
    for canary in (*CANARIES, json.loads(log.splitlines()[0])["log"], os.uname().nodename):
        assert canary.encode() not in everything
    assert set(asked.headers) == {
        *("Host", "User-Agent", "Content-Type", "Content-Length", "Accept", "Accept-Encoding", "Connection")
    }


def test_the_settings_name_the_authority_and_its_roots(
    imgkit: Imgkit, case: str, authority: Authority
) -> None:
    config = imgkit.base / "config"
    config.mkdir(exist_ok=True)
    with Served.of(authority) as served:
        for text in (f'tsa = "{served.url}"', f'tsa = {{url = "{served.url}", roots = "{authority.roots}"}}'):
            (config / "imgkit.toml").write_text(f"{text}\n")
            imgkit("log", "checkpoint", case).ended(0)
            trusted = "roots" in text
            assert imgkit("log", "timestamp", case, "--json").ended(0).json["trusted"] is trusted
    for text in ("tsa = 3", "tsa = {roots = 'x'}", "tsa = ''", "tsa = {url = 'http://x', more = 'y'}"):
        (config / "imgkit.toml").write_text(f"{text}\n")
        assert "tsa cannot be" in imgkit("log", "timestamp", case).ended(2).errors[0]
    (config / "imgkit.toml").write_text("tsa = {url = 'http://127.0.0.1:1/', roots = 'roots.pem'}\n")
    assert "relative path" in imgkit("log", "timestamp", case).ended(2).errors[0]


def test_two_machines(imgkit: Imgkit, case: str, authority: Authority) -> None:
    """The query is carried to a machine with a network, and the reply back; another checkpoint was made meanwhile."""
    imgkit("log", "timestamp", case, "--request", "query.tsq").ended(0)
    query = (imgkit.folder / "query.tsq").read_bytes()
    assert all(canary.encode() not in query for canary in CANARIES)
    (imgkit.folder / "reply.tsr").write_bytes(authority.reply(query))
    imgkit("case", "note", "meanwhile", "--case", case).ended(0)
    imgkit("log", "checkpoint", case).ended(0)
    words = ("log", "timestamp", case, "--reply", "reply.tsr", "--request", "query.tsq")
    document = imgkit(*words, "--tsa-roots", authority.roots, "--json").ended(0).json
    assert (document["n"], document["tsa"], document["trusted"]) == (1, "test-tsa", True)
    kept = imgkit.folder / case / "checkpoints" / "000001.sums.test-tsa.tsr"
    assert kept.read_bytes() == (imgkit.folder / "reply.tsr").read_bytes()
    assert "already" in imgkit(*words).ended(3).errors[0]
    imgkit("log", "verify", case, "--tsa-roots", authority.roots).ended(0)


def test_a_query_is_never_written_over_another_file(imgkit: Imgkit, case: str) -> None:
    path = imgkit.image("query.tsq", b"mine")
    assert "File exists" in imgkit("log", "timestamp", case, "--request", "query.tsq").ended(3).errors[0]
    assert path.read_bytes() == b"mine"


def test_without_a_checkpoint(imgkit: Imgkit, authority: Authority) -> None:
    imgkit("case", "new", "case").ended(0)
    with Served.of(authority) as served:
        done = imgkit("log", "timestamp", "case", "--url", served.url).ended(3)
    assert served.asked == []
    assert done.err.splitlines()[-1] == "hint: imgkit log checkpoint makes one"


def refused(imgkit: Imgkit, reply: bytes, code: int, *words: str | Path) -> str:
    """The one error line for a reply that is refused; nothing of it is kept."""
    log = imgkit.folder / "case" / "custody.jsonl"
    before = log.read_bytes()
    (imgkit.folder / "reply.tsr").write_bytes(reply)
    done = imgkit("log", "timestamp", "case", "--reply", "reply.tsr", *words).ended(code)
    assert log.read_bytes() == before
    assert not list((imgkit.folder / "case" / "checkpoints").glob("*.tsr"))
    assert not list((imgkit.folder / "case" / "checkpoints").glob(".*"))
    (line,) = done.errors
    assert done.out == ""
    return line


def test_replies_that_do_not_fit(imgkit: Imgkit, case: str, authority: Authority, tmp_path: Path) -> None:
    sums = (imgkit.folder / case / "checkpoints" / "000001.sums").read_bytes()
    imgkit("log", "timestamp", case, "--request", "query.tsq").ended(0)
    query = (imgkit.folder / "query.tsq").read_bytes()
    good = make_reply(authority.signer, make_info(sums, 7, NOW))
    web = issue("Web Server", authority.root)
    other = Authority(tmp_path / "other", root=issue("Another Root"))
    picky = Authority(tmp_path / "picky", digests="sha512")
    roots = ("--tsa-roots", authority.roots)
    table: list[tuple[bytes, int, tuple[str | Path, ...], str]] = [
        (make_reply(authority.signer, make_info(b"other", 7, NOW)), 1, (), "it stamps"),
        (good, 1, ("--request", "query.tsq"), "another query"),
        (picky.reply(query), 3, (), "rejected the query"),
        (good, 1, ("--tsa-roots", other.roots), "does not come from the trusted"),
        (make_reply(web, make_info(sums, 7, NOW)), 1, roots, "does not say that it is for time stamps"),
        (make_reply(authority.signer, make_info(sums, 7, NOW + 3 * YEAR)), 1, roots, "expired"),
        (b"<html><body>Please log in</body></html>", 3, (), "a web page"),
        (b"", 3, (), "empty"),
        (good[:-1], 3, (), "cut off"),
        (good[:-4] + bytes(4), 1, (), "signature"),
        (bytes(2 << 20), 3, (), "more than 1,048,576 bytes"),
        (good, 3, ("--checkpoint", "9"), "no checkpoint 9"),
        (good, 3, ("--tsa-roots", "nowhere.pem"), "nowhere.pem"),
        (good, 3, ("--request", "reply.tsr"), "no time-stamp query"),
        (good, 2, ("--url", "http://127.0.0.1/"), "--url asks now"),
        (good, 2, ("--name", "/"), "cannot name an authority"),
    ]
    for reply, code, words, said in table:
        assert said in refused(imgkit, reply, code, *words), said
    imgkit("log", "timestamp", case, "--reply", "reply.tsr", *roots).ended(0)


def test_a_refused_reply_in_json(imgkit: Imgkit, case: str, authority: Authority) -> None:
    (imgkit.folder / "reply.tsr").write_bytes(make_reply(authority.signer, make_info(b"other", 7, NOW)))
    document = imgkit("log", "timestamp", case, "--reply", "reply.tsr", "--json").ended(1).json
    assert (document["stamped"], document["file"], document["records"]) == (False, None, None)
    assert [problem["kind"] for problem in document["problems"]] == ["imprint"]


def test_authorities_that_give_none(imgkit: Imgkit, case: str) -> None:
    other = Served(lambda _query: (200, {}, b""))
    redirect = {"Location": "https://127.0.0.1:1/"}
    table: list[tuple[int, dict[str, str], bytes, str]] = [
        (301, redirect, b"", "no redirect is followed"),
        (404, {}, b"", "answered 404"),
        (200, {"Content-Type": "text/html"}, b"<html>", "web page"),
        (200, {}, bytes(2 << 20), "more than 1,048,576 bytes"),
    ]
    log = (imgkit.folder / case / "custody.jsonl").read_bytes()
    for status, headers, content, said in table:
        with Served(lambda _query, answer=(status, headers, content): answer) as served:  # type: ignore[misc]
            assert said in imgkit("log", "timestamp", case, "--url", served.url).ended(3).errors[0]
    with other:
        url = other.url
    done = imgkit("log", "timestamp", case, "--url", url, "--json").ended(3)
    assert "Connection refused" in done.json["error"]["message"]
    assert "--request FILE" in done.json["error"]["hint"]
    assert "no time-stamp authority" in imgkit("log", "timestamp", case).ended(2).errors[0]
    assert (
        "would be recorded"
        in imgkit("log", "timestamp", case, "--url", "http://a:secret@b/").ended(2).errors[0]
    )
    assert (imgkit.folder / case / "custody.jsonl").read_bytes() == log


def test_a_sums_file_that_was_changed_is_not_stamped(imgkit: Imgkit, case: str, authority: Authority) -> None:
    path = imgkit.folder / case / "checkpoints" / "000001.sums"
    path.chmod(0o640)
    path.write_bytes(path.read_bytes().replace(b"a", b"b"))
    with Served.of(authority) as served:
        done = imgkit("log", "timestamp", case, "--url", served.url).ended(3)
    assert "not what the log recorded" in done.errors[0]
    assert served.asked == []


# -- receipts ------------------------------------------------------------------------------------------------------------


def test_a_receipt_is_one_line(imgkit: Imgkit) -> None:
    imgkit("case", "new", "case").ended(0)
    done = imgkit("log", "receipt", "case", "--to", "Mr Roe").ended(0)
    (line,) = done.lines
    assert line.startswith("imgkit-receipt/1 ")
    assert (imgkit.folder / "case" / "receipts" / "given-000001.txt").read_text() == f"{line}\n"
    (point,) = records(imgkit, "log.checkpointed")
    (given,) = records(imgkit, "receipt.given")
    assert point["data"]["reason"] == "receipt"
    assert (given["data"]["to"], given["data"]["n"]) == ("Mr Roe", 1)
    imgkit("log", "verify", "case", "--receipt", line).ended(0)
    assert imgkit("log", "receipt", "case").ended(0).lines == [line], "nothing new, so no new checkpoint"
    imgkit("case", "note", "more", "--case", "case").ended(0)
    assert imgkit("log", "receipt", "case").ended(0).lines != [line]


def test_a_case_that_asks_for_checkpoints_makes_none_of_papers_alone(
    imgkit: Imgkit, authority: Authority
) -> None:
    imgkit.env["no_proxy"] = "*"
    imgkit("case", "new", "case", "--checkpoint", "each-command").ended(0)
    count = len(records(imgkit, "log.checkpointed"))
    imgkit("log", "receipt", "case").ended(0)
    with Served.of(authority) as served:
        imgkit("log", "timestamp", "case", "--url", served.url).ended(0)
    assert len(records(imgkit, "log.checkpointed")) == max(count, 1)


def test_the_picture_holds_the_line(imgkit: Imgkit) -> None:
    imgkit("case", "new", "case").ended(0)
    (line,) = imgkit("log", "receipt", "case", "--svg", "receipt.svg").ended(0).lines
    picture = (imgkit.folder / "receipt.svg").read_bytes()
    root = ET.fromstring(picture)  # noqa: S314 - made by ourselves a moment ago
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.findtext("{http://www.w3.org/2000/svg}desc") == line
    assert b"<script" not in picture
    assert b"href" not in picture
    imgkit("log", "receipt", "case", "--svg", "again.svg").ended(0)
    assert (imgkit.folder / "again.svg").read_bytes() == picture
    count = len(records(imgkit, "receipt.given"))
    assert "not overwritten" in imgkit("log", "receipt", "case", "--svg", "receipt.svg").ended(3).errors[0]
    assert len(records(imgkit, "receipt.given")) == count


def blocks(text: str) -> list[str]:
    """The rows of a code on a terminal."""
    plain = text.replace("\x1b[97;40m", "").replace("\x1b[0m", "")
    return [row for row in plain.splitlines() if row and set(row) <= set("█▀▄ ")]


def test_the_code_on_a_terminal_is_the_line(imgkit: Imgkit) -> None:
    imgkit("case", "new", "case").ended(0)
    (line,) = imgkit("log", "receipt", "case").ended(0).lines
    rows = blocks(imgkit.on_terminal("log", "receipt", "case"))
    halves = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}  # light modules are drawn
    drawn = [[halves[letter][half] for letter in row] for row in rows for half in (0, 1)]
    wanted = [list(row) for row in segno.make_qr(line, error="l").matrix_iter(border=2)]
    assert drawn[: len(wanted)] == wanted
    assert blocks(imgkit.on_terminal("log", "receipt", "case", "--no-qr")) == []
    assert blocks(imgkit.on_terminal("log", "receipt", "case", TERM="dumb")) == []
    bare = imgkit.on_terminal("log", "receipt", "case", NO_COLOR="1")
    assert blocks(bare) == rows
    assert "\x1b[" not in bare


def test_another_partys_receipt_is_kept(imgkit: Imgkit) -> None:
    for name in ("case", "theirs"):
        imgkit("case", "new", name).ended(0)
    (line,) = imgkit("log", "receipt", "theirs", "--to", "us").ended(0).lines
    imgkit.image("mail.txt", f"Dear all,\n\n{line}\n\nJane\n".encode())
    for text in (line, "mail.txt"):
        document = imgkit("log", "receipt", "case", "--take", text, "--from", "Lab B", "--json").ended(0).json
        assert (document["kind"], document["receipt"], document["from"]) == ("taken", line, "Lab B")
    (kept,) = (imgkit.folder / "case" / "receipts").iterdir()
    assert kept.name == f"taken-{line.split()[1][:8]}-1.txt"
    assert kept.read_text() == f"{line}\n"
    imgkit("log", "verify", "theirs", "--receipt", kept).ended(0)
    imgkit("log", "verify", "case").ended(0)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--take", "no receipt"), 2, "neither a receipt nor a file"),
        (("--take", "empty.txt"), 3, "is no receipt"),
        (("--take", "imgkit-receipt/1 x"), 3, "is no receipt"),
        (("--take", "."), 3, "."),
        (("--take", "x", "--to", "y"), 2, "--take keeps another party's"),
        (("--take", "x", "--svg", "y"), 2, "--take keeps another party's"),
        (("--from", "x"), 2, "--from names whose"),
    ],
)
def test_what_cannot_be_taken(imgkit: Imgkit, words: tuple[str, ...], code: int, said: str) -> None:
    imgkit("case", "new", "case").ended(0)
    imgkit.image("empty.txt", b"\n")
    assert said in imgkit("log", "receipt", "case", *words).ended(code).errors[0]
    assert len(records(imgkit, "receipt.taken")) == 0


def test_ones_own_receipt_is_not_taken(imgkit: Imgkit) -> None:
    imgkit("case", "new", "case").ended(0)
    (line,) = imgkit("log", "receipt", "case").ended(0).lines
    done = imgkit("log", "receipt", "case", "--take", line).ended(2)
    assert "--receipt compares" in done.err

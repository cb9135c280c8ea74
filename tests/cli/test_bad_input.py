"""Bad input: one clear line, the right code, nothing changed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import bound_loop_devices, need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.running import Done, Imgkit

READING = ("info", "hash", "verify", "partitions")
ALL = (*READING, "attach", "mount")


def refused(done: Done, code: int = 3) -> str:
    """The one line of a run that failed."""
    done.ended(code)
    assert len(done.errors) == 1, done.err
    assert done.out == ""
    assert "internal error" not in done.err
    return done.errors[0]


def nothing_recorded(imgkit: Imgkit) -> bool:
    """No act on evidence left a line: at most the log was made."""
    return not imgkit.own_log.exists() or [item["type"] for item in imgkit.records()] == ["log.opened"]


@pytest.mark.parametrize("command", ALL)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.dd", "No such file"),
        (".", "a directory"),
        ("fifo", "a FIFO"),
        ("/dev/null", "a character device"),
        ("socket", "a socket"),
        ("disk.dd/below", "Not a directory"),
        ("", ""),
        ("dangling", "No such file"),
        ("loop", "symbolic links"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_is_no_image(imgkit: Imgkit, command: str, name: str, words: str) -> None:
    imgkit.image()
    os.mkfifo(imgkit.folder / "fifo")
    (imgkit.folder / "dangling").symlink_to("nowhere")
    (imgkit.folder / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(imgkit.folder)
        listener.bind("socket")
    done = imgkit(command, name)
    assert words in refused(done, 2 if name == "" else 3)
    assert nothing_recorded(imgkit)


def test_an_empty_file(imgkit: Imgkit) -> None:
    imgkit.image("empty.dd", b"")
    assert imgkit("info", "empty.dd", "--json").ended(0).json["image"]["size"] == 0
    assert (
        imgkit("hash", "-a", "md5", "empty.dd").ended(0).out == "d41d8cd98f00b204e9800998ecf8427e  empty.dd\n"
    )
    document = imgkit("partitions", "empty.dd", "--json").ended(0).json
    assert (document["table"]["scheme"], document["partitions"], document["gaps"]) == ("none", [], [])
    imgkit("verify", "empty.dd").ended(0)
    need(os.geteuid() == 0, "needs root")
    for command in ("attach", "mount"):
        assert "empty" in refused(imgkit(command, "empty.dd")) or "0 bytes" in imgkit(command, "empty.dd").err


def test_a_tiny_file(imgkit: Imgkit) -> None:
    imgkit.image("tiny.dd", b"x" * 100)
    for command in ("info", "hash", "partitions"):
        imgkit(command, "tiny.dd").ended(0)
    need(os.geteuid() == 0, "needs root")
    refused(imgkit("attach", "tiny.dd"))


def test_an_unknown_partition_number_names_those_there_are(imgkit: Imgkit, gpt_disk: str) -> None:
    for command in ("hash", "attach", "mount"):
        line = refused(imgkit(command, gpt_disk, "-p", "99"))
        assert "no partition 99" in line
        assert "it has 1, 2" in line
    for number in ("0", "-1", "99999999999999999999"):
        refused(imgkit("hash", gpt_disk, "-p", number))
    imgkit.image()
    assert "it has none" in refused(imgkit("hash", "disk.dd", "-p", "1"))


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        ("99999744", "512"),  # beyond the end
        ("0", "99999744"),  # beyond the end
        ("18432", "512"),  # from the end on
        ("0", "513"),  # odd
        ("1", "512"),  # odd
        ("9223372036854775296", "512"),
        ("99999999999999999999999999", "512"),
        ("0", "99999999999999999999999999"),
    ],
)
def test_an_extent_that_the_media_has_not(imgkit: Imgkit, offset: str, length: str) -> None:
    need(os.geteuid() == 0, "needs root")
    before = bound_loop_devices()
    imgkit.image()
    refused(imgkit("attach", "disk.dd", "--offset", offset, "--length", length))
    mine = {file for name, file in bound_loop_devices().items() if name not in before}
    assert not any(str(imgkit.folder) in file for file in mine)
    results = [
        item["result"]
        for item in imgkit.records()
        if item["type"] == "evidence.attached" and "result" in item
    ]
    assert "ok" not in results


@pytest.mark.parametrize(
    "words",
    [
        ("hash", "disk.dd", "-p", "1.5"),
        ("hash", "disk.dd", "-p", ""),
        ("attach", "disk.dd", "--offset", "1k", "--length", "512"),
        ("attach", "disk.dd", "--offset", "-512", "--length", "512"),
        ("attach", "disk.dd", "--offset", "0", "--length", "-512"),
        ("attach", "disk.dd", "--offset", "0", "--length", ""),
        ("info", "disk.dd", "--sector-size", "0"),
        ("info", "disk.dd", "--sector-size", "99999999999999999999"),
        ("case", "correct", "-1", "type", "x", "--why", "y"),
    ],
    ids=" ".join,
)
def test_garbage_for_numbers_is_wrong_usage(imgkit: Imgkit, words: tuple[str, ...]) -> None:
    imgkit.image()
    refused(imgkit(*words), 2)


# -- logs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", READING)
def test_the_image_is_the_log_itself(imgkit: Imgkit, command: str) -> None:
    case = imgkit.case()
    imgkit.env["IMGKIT_CASE"] = str(case)
    done = imgkit(command, case / "custody.jsonl")
    assert done.code in {0, 1, 3}
    assert "internal error" not in done.err
    assert "Traceback" not in done.err
    imgkit("log", "verify").ended(0)


def test_a_symlinked_log_is_refused(imgkit: Imgkit) -> None:
    case, linked = imgkit.case(), imgkit.folder / "linked"
    linked.mkdir()
    (linked / "custody.jsonl").symlink_to(case / "custody.jsonl")
    before = (case / "custody.jsonl").read_bytes()
    refused(imgkit("hash", imgkit.image(), "--case", linked))
    refused(imgkit("case", "new", linked))
    assert (case / "custody.jsonl").read_bytes() == before
    assert (linked / "custody.jsonl").is_symlink()


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"not a log\n", b'{"v":1}', b"\x00" * 4096])
def test_what_is_no_log_is_refused_and_left_alone(imgkit: Imgkit, content: bytes) -> None:
    folder = imgkit.folder / "case"
    folder.mkdir()
    (folder / "custody.jsonl").write_bytes(content)
    imgkit.image()
    refused(imgkit("hash", "disk.dd", "--case", "case"))
    refused(imgkit("case", "show", "case"))
    for words, codes in ((("log", "verify"), {1, 3}), (("log", "show"), {0, 3})):
        done = imgkit(*words, "case")
        assert done.code in codes
        assert "internal error" not in done.err
    assert (folder / "custody.jsonl").read_bytes() == content


def test_a_case_of_a_newer_imgkit_is_refused(imgkit: Imgkit) -> None:
    case = imgkit.case()
    log = case / "custody.jsonl"
    text = log.read_text(encoding="utf-8").replace('"v":1', '"v":2')
    log.write_text(text, encoding="utf-8")
    line = refused(imgkit("hash", imgkit.image(), "--case", case))
    assert "newer imgkit" in line
    assert log.read_text(encoding="utf-8") == text


def test_case_new_where_there_is_one(imgkit: Imgkit) -> None:
    case = imgkit.case()
    before = {path: path.stat().st_mtime_ns for path in case.rglob("*")}
    assert "already holds a custody log" in refused(imgkit("case", "new", "case"))
    assert {path: path.stat().st_mtime_ns for path in case.rglob("*")} == before


def test_case_new_in_the_way_of_a_file(imgkit: Imgkit) -> None:
    imgkit.image("file")
    refused(imgkit("case", "new", "file"))
    refused(imgkit("case", "new", "file/case"))
    refused(imgkit("case", "new", ""), 2)
    assert (imgkit.folder / "file").is_file()


def test_two_at_once_on_one_case_end_well(imgkit: Imgkit) -> None:
    case = imgkit.case()
    images = [imgkit.image(f"{number}.dd", b"%d" % number * 4096) for number in range(6)]
    running = [imgkit.popen("hash", image, "--case", case) for image in [*images, *images]]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    imgkit("log", "verify", case).ended(0)
    document = imgkit("case", "show", case, "--json").ended(0).json
    names = [item["exhibit"] for item in document["exhibits"]]
    assert len(set(names)) == len(names)
    known = sorted(path for item in document["exhibits"] for path in item["paths"])
    assert known == sorted(str(image) for image in images)


def test_two_at_once_make_one_own_log(imgkit: Imgkit) -> None:
    image = imgkit.image()
    running = [imgkit.popen("hash", image) for _ in range(6)]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    imgkit("log", "verify").ended(0)
    assert [record["type"] for record in imgkit.records()].count("log.opened") == 1


# -- full disks ------------------------------------------------------------------------------------


@pytest.fixture
def small(live: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(folder: Path) -> None:
    """Leave no room at all."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


@pytest.mark.live
def test_an_image_on_a_full_disk_is_examined(imgkit: Imgkit, small: Path) -> None:
    image = Path(shutil.copy(imgkit.image(), small / "disk.dd"))
    fill(small)
    before = image.stat()
    for command, code in (("info", 0), ("hash", 0), ("verify", 0), ("partitions", 0)):
        imgkit(command, image).ended(code)
    device = imgkit("attach", image).ended(0).out.strip()
    imgkit("detach", device).ended(0)
    assert image.stat() == before


@pytest.mark.live
def test_a_full_log_stops_every_act_and_loses_nothing(imgkit: Imgkit, small: Path) -> None:
    imgkit("case", "new", small / "case").ended(0)
    imgkit.env["IMGKIT_CASE"] = str(small / "case")
    image = imgkit.image()
    imgkit("hash", image).ended(0)
    log = small / "case" / "custody.jsonl"
    fill(small)
    for words in (("hash", image), ("partitions", image), ("attach", image), ("case", "note", "x" * 9000)):
        before = log.read_bytes()
        line = refused(imgkit(*words))
        assert "No space left on device" in line or "no room" in line
        assert log.read_bytes().startswith(before)
    (small / "filler").unlink()
    imgkit("hash", image).ended(0)
    imgkit("log", "verify").ended(0)


@pytest.mark.live
def test_a_log_that_cannot_be_written_keeps_nothing_up(imgkit: Imgkit, small: Path) -> None:
    imgkit("case", "new", small / "case").ended(0)
    imgkit.env["IMGKIT_CASE"] = str(small / "case")
    image = imgkit.image()
    device = imgkit("attach", image).ended(0).out.strip()
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    refused(imgkit("hash", image))
    done = imgkit("detach", device).ended(3)
    assert "NOT YET IN THE CASE LOG" in done.err
    assert str(imgkit.folder) not in bound_loop_devices().get(device.removeprefix("/dev/"), "")
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    imgkit("info", image).ended(0)
    kinds = [item["type"] for item in imgkit.records(small / "case" / "custody.jsonl")]
    assert kinds.count("evidence.detached") == 2
    imgkit("log", "verify").ended(0)


@pytest.mark.live
def test_a_full_state_folder_is_an_error_of_one_line(imgkit: Imgkit, small: Path) -> None:
    imgkit.env["XDG_STATE_HOME"] = str(small)
    image = imgkit.image()
    fill(small)
    assert (
        "No space left on device" in refused(imgkit("hash", image)) or "no room" in imgkit("hash", image).err
    )


def test_a_state_folder_that_is_a_file(imgkit: Imgkit) -> None:
    imgkit.env["XDG_STATE_HOME"] = str(imgkit.image("state"))
    refused(imgkit("hash", "state"))


def test_a_file_size_limit_is_an_error_of_one_line(imgkit: Imgkit) -> None:
    image = imgkit.image()
    imgkit("hash", image).ended(0)
    before = imgkit.own_log.read_bytes()
    size = len(before) + 100

    from tests.cli.running import COMMAND

    words = ["bash", "-c", f'trap "" XFSZ; exec prlimit --fsize={size} "$0" hash "$1"', COMMAND, str(image)]
    done = subprocess.run(words, env=imgkit.env, cwd=imgkit.folder, capture_output=True, check=False)
    assert done.returncode == 3, done.stderr
    assert b"File too large" in done.stderr
    assert imgkit.own_log.read_bytes().startswith(before)
    imgkit("hash", image).ended(0)
    imgkit("log", "verify").ended(0)

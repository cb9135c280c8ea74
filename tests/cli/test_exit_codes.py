"""Every class of error ends with the code that docs/cli.md gives it, one line that says why, and never a traceback."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import COMMAND
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.cli.running import Done, Imgkit

WRONG = "sha256:" + "0" * 64
DEFECT = """
import imgkit.hashing
def broken(*args, **options):
    raise RuntimeError("gears\\x1b[31m")
imgkit.hashing.hash_range = broken
"""

INTERRUPTED_LOADING = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "imgkit.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
"""


def one_line(done: Done) -> str:
    """The one error line of a failed run; there is neither a second one nor a traceback."""
    assert len(done.errors) == 1, done.err
    assert "Traceback" not in done.err
    return done.errors[0]


def test_done_is_0(imgkit: Imgkit) -> None:
    done = imgkit("hash", imgkit.image()).ended(0)
    assert not done.errors


def test_a_mismatch_is_1(imgkit: Imgkit) -> None:
    done = imgkit("verify", imgkit.image(), "--expect", WRONG).ended(1)
    assert done.lines[-1] == "verdict: MISMATCH"
    assert not done.errors


def test_a_forged_log_is_1_where_it_is_verified(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image())
    text = imgkit.own_log.read_text(encoding="utf-8")
    imgkit.own_log.write_text(text.replace("disk.dd", "disk.dt"), encoding="utf-8")
    done = imgkit("log", "verify").ended(1)
    assert done.lines[-1] == "verdict: FAILED"


def test_a_forged_log_takes_no_more_records(imgkit: Imgkit) -> None:
    image = imgkit.image()
    imgkit("hash", image)
    lines = imgkit.own_log.read_text(encoding="utf-8").splitlines(keepends=True)
    imgkit.own_log.write_text("".join(lines[:-1]), encoding="utf-8")
    assert "imgkit: error: " in one_line(imgkit("hash", image).ended(3))
    assert imgkit.own_log.read_text(encoding="utf-8") == "".join(lines[:-1])


@pytest.mark.parametrize(
    "words",
    [
        ("hash",),
        ("hash", "disk.dd", "-a", "sha257"),
        ("hash", "disk.dd", "-p", "two"),
        ("hash", "disk.dd", "--json", "--jsonl"),
        ("hash", "disk.dd", "-p", "1", "--container"),
        ("hash", "disk.dd", "--progress", "bars"),
        ("hash", "disk.dd", "--no-such-option"),
        ("hash", "disk.dd", "--exhibit", "EX9"),
        ("info", "disk.dd", "--sector-size", "513"),
        ("info", "disk.dd", "--sector-size", "-512"),
        ("info", "disk.dd", "--sector-size", "big"),
        ("verify", "disk.dd", "--expect", "sha256"),
        ("verify", "disk.dd", "--expect", "sha256:12"),
        ("verify", "disk.dd", "--expect", "sha256:" + "g" * 64),
        ("verify", "disk.dd", "disk.dd", "--expect", WRONG),
        ("attach", "disk.dd", "--offset", "-1", "--length", "512"),
        ("attach", "disk.dd", "--offset", "512"),
        ("attach", "disk.dd", "--length", "512"),
        ("attach", "disk.dd", "--length", "0", "--offset", "0"),
        ("attach", "disk.dd", "--offset", "0x200", "--length", "512"),
        ("attach", "disk.dd", "-p", "1", "--offset", "0", "--length", "512"),
        ("attach", "disk.dd", "--force"),
        ("attach", "disk.dd", "--read-write"),
        ("detach",),
        ("detach", "disk.dd", "--all"),
        ("unmount",),
        ("mount",),
        ("case", "new"),
        ("case", "note", " "),
        ("case", "note", "seal broken", "--exhibit", "EX9"),
        ("case", "correct", "1", "actor.name", "John"),
        ("case", "correct", "one", "actor.name", "John", "--why", "misread"),
        ("case", "correct", "1", "actor.name", "John", "--why", " "),
        ("case", "correct", "99", "actor.name", "John", "--why", "misread"),
        ("case", "add", "disk.dd", "--digest", "md5:xyz"),
        ("log", "accept-rollback"),
        ("log", "nonsense"),
        ("nonsense",),
        ("--nonsense",),
        ("hash", "disk.dd", "--examiner", " "),
        ("hash", "disk.dd", "--examiner", "Jane\x1bDoe <>"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(imgkit: Imgkit, words: tuple[str, ...]) -> None:
    imgkit.image()
    done = imgkit(*words).ended(2)
    one_line(done)
    assert done.out == "" or done.json["error"]["kind"] == "usage"
    assert not imgkit.own_log.exists() or len(imgkit.records()) <= 3  # the exhibit, nothing done with it


@pytest.mark.parametrize("words", [(), ("case",), ("log",)], ids=str)
def test_no_command_prints_the_help_and_is_2(imgkit: Imgkit, words: tuple[str, ...]) -> None:
    done = imgkit(*words).ended(2)
    assert "Usage: imgkit" in done.out + done.err
    assert not done.errors


def could_not(imgkit: Imgkit, name: str) -> tuple[str, ...]:
    """Words that cannot be done, one for each class of errors.py that an ordinary host can show."""
    imgkit.image()
    work = imgkit.folder
    if name == "missing":
        return ("hash", "missing.dd")
    if name == "compressed":
        (work / "disk.gz").write_bytes(gzip.compress(b"x" * 9999))
        return ("hash", "disk.gz")
    if name == "hole in a set":
        for number in (1, 3):
            (work / f"set.00{number}").write_bytes(b"x" * 512)
        return ("hash", "set.001")
    if name == "no such partition":
        return ("hash", "disk.dd", "-p", "9")
    if name == "no reference":
        return ("verify", "disk.dd")
    if name == "no case":
        return ("hash", "disk.dd", "--case", "nowhere")
    if name == "no log":
        return ("log", "show")
    assert name == "nothing attached", name
    return ("detach", "disk.dd")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("missing", "image"),
        ("compressed", "image.unknown-format"),
        ("hole in a set", "image.missing-segment"),
        ("no such partition", "partition"),
        ("no case", "custody"),
        ("no log", "custody"),
        ("nothing attached", "attach"),
    ],
)
def test_what_could_not_be_done_is_3(imgkit: Imgkit, name: str, kind: str) -> None:
    words = could_not(imgkit, name)
    if name == "nothing attached" and os.geteuid() != 0:
        kind = "not-permitted"
    line = one_line(imgkit(*words).ended(3))
    assert line.removeprefix("imgkit: error: ")
    document = imgkit(*words, "--json").ended(3).json
    assert document["error"]["kind"] == kind


def test_no_reference_is_3_and_an_answer(imgkit: Imgkit) -> None:
    done = imgkit("verify", imgkit.image()).ended(3)
    assert done.lines[-1].startswith("verdict: no reference")
    assert not done.errors


def with_defect(imgkit: Imgkit, code: str) -> dict[str, str | None]:
    """An environment in which imgkit has the defect: Python runs sitecustomize before anything else."""
    folder = imgkit.base / "defect"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def test_an_internal_error_is_3_and_one_line(imgkit: Imgkit) -> None:
    env = with_defect(imgkit, DEFECT)
    done = imgkit("hash", imgkit.image(), env=env).ended(3)
    assert one_line(done) == "imgkit: error: internal error: RuntimeError: gears\\x1b[31m"
    last = imgkit.records()[-1]
    assert (last["phase"], last["result"]) == ("outcome", "failed")


def test_an_internal_error_shows_where_under_imgkit_debug(imgkit: Imgkit) -> None:
    env = with_defect(imgkit, DEFECT) | {"IMGKIT_DEBUG": "1"}
    done = imgkit("hash", imgkit.image(), env=env).ended(3)
    assert "Traceback" in done.err


def test_an_internal_error_is_one_json_document(imgkit: Imgkit) -> None:
    done = imgkit("hash", imgkit.image(), "--json", env=with_defect(imgkit, DEFECT)).ended(3)
    assert done.json["error"]["kind"] == "internal"


def test_a_defect_while_the_command_is_loaded_is_3(imgkit: Imgkit) -> None:
    env = with_defect(imgkit, "import sys; sys.modules['typer'] = None")
    one_line(imgkit("hash", imgkit.image(), env=env).ended(3))


def test_debug_shows_where_an_error_came_from(imgkit: Imgkit) -> None:
    done = imgkit("hash", "missing.dd", env={"IMGKIT_DEBUG": "1"}).ended(3)
    assert "Traceback" in done.err


def big(imgkit: Imgkit) -> Path:
    """An image whose reading takes longer than any test waits."""
    path = imgkit.folder / "big.dd"
    with path.open("xb") as file:
        file.truncate(1 << 40)
    return path


def stopped(imgkit: Imgkit, number: signal.Signals, *words: str) -> Done:
    """The run of `hash big.dd`, stopped by a signal once its intent is on disk."""
    process = imgkit.popen("hash", big(imgkit), "-a", "md5", *words)
    try:
        wait_until(lambda: imgkit.own_log.exists() and len(imgkit.own_log.read_bytes().splitlines()) >= 4)
        time.sleep(0.1)  # somewhere in the read, which takes far longer
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    from tests.cli.running import Done

    return Done(process.returncode, out.decode(), err.decode())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_told_recorded_and_has_its_code(
    imgkit: Imgkit, number: signal.Signals, code: int
) -> None:
    done = stopped(imgkit, number).ended(code)
    one_line(done)
    assert done.out == ""
    last = imgkit.records()[-1]
    assert (last["type"], last["phase"], last["result"]) == ("evidence.hashed", "outcome", "interrupted")
    imgkit("log", "verify").ended(0)


def test_a_signal_is_one_json_document(imgkit: Imgkit) -> None:
    done = stopped(imgkit, signal.SIGTERM, "--json").ended(143)
    assert done.json["error"]["kind"] == "terminated"


def test_an_interrupt_while_the_command_is_loaded_is_130(imgkit: Imgkit) -> None:
    env = with_defect(imgkit, INTERRUPTED_LOADING)
    done = imgkit("hash", imgkit.image(), env=env).ended(130)
    assert "Traceback" not in done.err


def test_a_broken_pipe_is_141(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image())
    words = ["bash", "-c", '"$0" log show | true; exit ${PIPESTATUS[0]}', COMMAND]
    done = subprocess.run(words, env=imgkit.env, cwd=imgkit.folder, capture_output=True, check=False)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_reader_that_is_gone_is_141(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image())
    for words in (("log", "show"), ("log", "show", "--json"), ("hash", "disk.dd"), ("--help",)):
        reader, writer = os.pipe()
        os.close(reader)
        process = imgkit.popen(*words, stdout=writer)
        os.close(writer)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 141, (words, err)
        assert b"error" not in err
        assert b"Traceback" not in err
        assert b"Exception ignored" not in err


def test_a_full_disk_below_the_output_is_3(imgkit: Imgkit) -> None:
    imgkit("hash", imgkit.image())
    for words in (("log", "show"), ("log", "show", "--json"), ("hash", "disk.dd"), ("--version",)):
        with Path("/dev/full").open("wb") as full:
            process = imgkit.popen(*words, stdout=full)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 3, (words, err)
        assert b"No space left on device" in err
        assert b"internal error" not in err


def test_nobody_to_listen_to_errors_changes_no_code(imgkit: Imgkit) -> None:
    for words, code in ((("hash", "missing.dd"), 3), (("nonsense",), 2)):
        with Path("/dev/full").open("wb") as full:
            process = imgkit.popen(*words, stderr=full)
            process.communicate(timeout=30)
        assert process.returncode == code, words


def test_closed_streams_are_no_internal_error(imgkit: Imgkit) -> None:
    imgkit.image()
    script = '"$0" hash disk.dd >&- ; echo $?; "$0" hash disk.dd 2>&- ; echo $?; "$0" hash missing.dd 2>&-; echo $?'
    done = subprocess.run(
        ["bash", "-c", script, COMMAND], env=imgkit.env, cwd=imgkit.folder, capture_output=True, check=False
    )
    codes = [line for line in done.stdout.decode().splitlines() if line.isdecimal()]
    assert codes[1:] == ["0", "3"]
    assert codes[0] == "3"  # nobody has seen the result
    assert b"Traceback" not in done.stderr


def test_several_images_1_beats_3_beats_0(imgkit: Imgkit) -> None:
    good, bad = imgkit.image("good.dd", b"good" * 128), imgkit.image("bad.dd", b"bad." * 128)
    for path in (good, bad):
        digest = json.loads(imgkit("hash", path, "-a", "md5", "--json").out)["images"][0]["digests"]["md5"]
        (imgkit.folder / f"{path.name}.md5").write_text(f"{digest}  {path.name}\n", encoding="ascii")
    imgkit("verify", good, bad).ended(0)
    done = imgkit("verify", good, "missing.dd", bad).ended(3)
    assert len(done.errors) == 1
    bad.write_bytes(b"BAD!" * 128)
    done = imgkit("verify", good, "missing.dd", bad, "--json").ended(1)
    verdicts = [entry["verdict"] for entry in done.json["images"]]
    assert verdicts == ["match", "unreadable", "mismatch"]

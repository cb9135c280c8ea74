"""Many at once on one case: every device its own, one image one exhibit, and a log that is in order."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.live import filesystems
from tests.live.bench import RUN_FOLDER, Bench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.cli.running import Done

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("crowd")]

CROWD = 16


@pytest.fixture
def case(bench: Bench) -> Path:
    case = bench.case()
    bench.env["IMGKIT_CASE"] = str(case)
    return case


def at_once(bench: Bench, commands: Sequence[tuple[str | Path, ...]]) -> list[Done]:
    with ThreadPoolExecutor(len(commands)) as pool:
        return [item.ended(0) for item in pool.map(lambda words: bench(*words), commands)]


def test_one_image(bench: Bench, case: Path) -> None:
    """Nobody has seen it before: all add it, one does."""
    image = bench.image()
    done = at_once(bench, [("attach", image, "--json")] * CROWD)
    attachments = [item.json["attachments"][0] for item in done]
    assert len({item["device"] for item in attachments}) == CROWD
    assert {item["exhibit"] for item in attachments} == {"EX1"}
    assert bench.devices().keys() == {item["device"] for item in attachments}
    added = bench.of_type(case, "evidence.added")
    assert [record["result"] for record in added].count("ok") == 1
    shown = bench("case", "show", "--json").ended(0).json
    assert [item["exhibit"] for item in shown["exhibits"]] == ["EX1"]
    assert "OPEN_INTENT" not in bench.verified(case)
    at_once(bench, [("detach", item["device"]) for item in attachments])
    assert bench.devices() == {}
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))


def test_as_many_images(bench: Bench, case: Path) -> None:
    """Each its own exhibit; every record of an image names the same one."""
    images = [bench.image(f"{number}.dd", b"%512d" % number * 4) for number in range(CROWD)]
    done = at_once(bench, [("attach", image, "--json") for image in images])
    exhibits = {item.json["attachments"][0]["exhibit"] for item in done}
    assert len(exhibits) == CROWD
    shown = bench("case", "show", "--json").ended(0).json["exhibits"]
    assert {item["exhibit"] for item in shown} == exhibits
    assert sorted(path for item in shown for path in item["paths"]) == sorted(map(str, images))
    paths = {item["exhibit"]: item["paths"] for item in shown}
    for record in bench.of_type(case, "evidence.attached"):
        assert paths[record["exhibit"]] == [record["data"]["backing"]["path"]]
    at_once(bench, [("detach", image) for image in images])
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))


def test_mounts_without_a_directory(bench: Bench, case: Path) -> None:
    """Of one image in two cases: each case has its own folder, each partition its own directory, all of it goes again."""
    part = bench.base / "part"
    files = filesystems.make_tree(bench.base / "tree")
    filesystems.make_clean(part, "squashfs", bench.base / "tree")
    disk = bench.folder / "disk.dd"
    filesystems.make_disk(disk, "gpt", [part] * (CROWD // 2))
    before = filesystems.facts(disk)
    cases = [case, bench.case("other")]
    numbers = range(1, CROWD // 2 + 1)
    commands = [("mount", disk, "-p", str(number), "--case", place) for number in numbers for place in cases]
    done = at_once(bench, commands)
    places = [item.out.strip() for item in done]
    assert len(set(places)) == len(bench.mounts()) == CROWD
    assert all(filesystems.files_below(place) == files for place in places)
    folders = [{os.path.dirname(place) for place in places[n::2]} for n in (0, 1)]
    assert not folders[0] & folders[1]
    assert all(folder.startswith(f"{RUN_FOLDER}/EX1") for folder in folders[0] | folders[1])
    at_once(bench, [("unmount", place) for place in places])
    assert bench.is_clean()
    assert not [folder for folder in folders[0] | folders[1] if os.path.exists(folder)]
    for place in cases:
        assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(place))
    assert filesystems.facts(disk) == before


def test_all_is_taken_down_by_many(bench: Bench, case: Path) -> None:
    """Who comes second finds it gone, which is what was wanted; the log has each end at least once."""
    image = bench.image()
    devices = [item.out.strip() for item in at_once(bench, [("attach", image)] * 6)]
    at_once(bench, [("detach", "--all")] * 4)
    assert bench.devices() == {}
    ended = {
        record["data"]["device"]
        for record in bench.of_type(case, "evidence.detached")
        if record["result"] == "ok"
    }
    assert ended == set(devices)
    assert not {"OPEN_INTENT", "OPEN_ATTACHMENT"} & set(bench.verified(case))

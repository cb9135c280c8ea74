"""vfat, iso9660 and udf, which this host's kernel may lack: examined by imgkit itself under User-Mode Linux."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import need
from tests.kernels import examined, uml

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("uml")]

MODULES = ("vfat", "nls_cp437", "nls_iso8859-1", "isofs", "udf")
CASES = {"vfat:fill": "vfat", "vfat:dirty": "vfat", "iso9660": "iso9660", "udf": "udf"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uml")


@pytest.fixture(scope="module")
def tree(folder: Path) -> dict[str, str]:
    return examined.make_tree(folder / "tree")


@pytest.fixture(scope="module")
def answer(folder: Path, tree: dict[str, str]) -> dict[str, Any]:
    """One boot for all: three to six seconds."""
    need(uml.possible(), "needs user-mode-linux and busybox-static")
    vfat = examined.make_empty(folder / "vfat.img", ["mkfs.vfat"])
    jobs = {"vfat:fill": vfat, "vfat:dirty": vfat}
    for kind, option in (("iso9660", []), ("udf", ["-udf"])):
        jobs[kind] = folder / f"{kind}.img"
        argv = ["genisoimage", "-quiet", "-input-charset", "utf-8", "-J", "-R", *option]
        subprocess.run([*argv, "-o", jobs[kind], folder / "tree"], check=True, capture_output=True)
    return examined.examine(uml.run, jobs, folder / "tree", MODULES)


@pytest.mark.parametrize(("name", "driver"), CASES.items())
def test_mounted_read_only_with_every_file(
    answer: dict[str, Any], tree: dict[str, str], name: str, driver: str
) -> None:
    examined.check_mounted(answer[name], driver)
    assert answer[name]["files"] == tree
    assert answer[name]["mount"]["view"] == "current"
    assert answer[name]["mount"]["journal"] == "none"


@pytest.mark.parametrize("name", CASES)
def test_image_unchanged(answer: dict[str, Any], name: str) -> None:
    examined.check_unchanged(answer[name])


def test_a_dirty_vfat_differs_from_a_clean_one(answer: dict[str, Any]) -> None:
    assert answer["vfat:dirty"]["before"]["sha256"] != answer["vfat:fill"]["before"]["sha256"]


def test_status_of_the_command_comes_back() -> None:
    need(uml.possible(), "needs user-mode-linux and busybox-static")
    ran = uml.run(["/bin/sh", "-c", "echo out; echo err >&2; uname -m; exit 7"], modules=())
    assert ran.status == 7
    assert ran.output.splitlines() == ["out", "err", "x86_64"]

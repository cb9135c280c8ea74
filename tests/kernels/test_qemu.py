"""NTFS and exFAT, clean and dirty, and the journals this host's kernel lacks, under Debian's 6.12 kernel in qemu.

`make test-kernels` runs it and writes what it saw to docs/kernels.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT, need
from tests.kernels import examined, qemu

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kernels, pytest.mark.xdist_group("qemu")]

MODULES = ("ntfs3", "exfat", "nls_utf8", "nilfs2", "f2fs", "jfs", "reiserfs")
MAKERS: dict[str, tuple[list[str], int]] = {
    "ntfs": (["mkntfs", "-q", "-F"], 16 << 20),
    "exfat": (["mkfs.exfat"], 16 << 20),
    "nilfs2": (["mkfs.nilfs2", "-q", "-f"], 160 << 20),
    "f2fs": (["mkfs.f2fs", "-q", "-f"], 96 << 20),
    "jfs": (["mkfs.jfs", "-q"], 32 << 20),
    "reiserfs": (["mkfs.reiserfs", "-q", "-f", "-f"], 64 << 20),
}
DRIVERS = {"ntfs": "ntfs3"}
NAMES = [f"{kind}:{state}" for kind in MAKERS for state in ("fill", "dirty")]

# What the row of the table promises for a dirty image: view and journal; None: refused.
DIRTY: dict[str, tuple[str, str] | None] = {
    "ntfs": ("current", "unknown"),
    "exfat": ("current", "none"),
    "nilfs2": ("before-journal", "dirty"),
    "f2fs": ("current", "unknown"),
    "jfs": ("unknown", "unknown"),
    "reiserfs": None,
}
RESULT = ROOT / "docs" / "kernels.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("qemu")


@pytest.fixture(scope="module")
def tree(folder: Path) -> dict[str, str]:
    return examined.make_tree(folder / "tree")


@pytest.fixture(scope="module")
def answer(folder: Path, tree: dict[str, str]) -> dict[str, Any]:
    """One boot for all."""
    need(qemu.possible(), "needs the packages of packages-kernels.txt")
    images = {
        kind: examined.make_empty(folder / kind, argv, size=size) for kind, (argv, size) in MAKERS.items()
    }
    jobs = {name: images[name.partition(":")[0]] for name in NAMES}
    return examined.examine(qemu.run, jobs, folder / "tree", MODULES)


@pytest.mark.parametrize("kind", MAKERS)
def test_clean(answer: dict[str, Any], tree: dict[str, str], kind: str) -> None:
    seen = answer[f"{kind}:fill"]
    examined.check_mounted(seen, DRIVERS.get(kind, kind))
    assert seen["files"].items() >= tree.items()  # nilfs2 adds a file of its own
    assert seen["mount"]["view"] in {"current", "unknown"}


@pytest.mark.parametrize(("kind", "promised"), DIRTY.items())
def test_dirty(
    answer: dict[str, Any], tree: dict[str, str], kind: str, promised: tuple[str, str] | None
) -> None:
    seen = answer[f"{kind}:dirty"]
    if promised is None:
        assert seen["error"]["kind"] == "mount"
        assert "its journal is dirty, and no option shows it" in seen["error"]["message"]
        return
    examined.check_mounted(seen, DRIVERS.get(kind, kind))
    assert (seen["mount"]["view"], seen["mount"]["journal"]) == promised
    if promised[0] == "current":
        assert seen["files"] == tree


@pytest.mark.parametrize("name", NAMES)
def test_image_unchanged(answer: dict[str, Any], name: str) -> None:
    examined.check_unchanged(answer[name])


def test_written_down(answer: dict[str, Any], tree: dict[str, str]) -> None:
    """The result is a file of the repository: whoever reads the table of mount options can see what it stands on."""
    RESULT.write_text(report(answer, len(tree)))
    assert RESULT.read_text().count("| unchanged |") == len(NAMES)


def report(answer: dict[str, Any], files: int) -> str:
    """The page docs/kernels.md."""
    lines = [
        "# File systems under a second kernel",
        "",
        "Written by `make test-kernels`: each image was attached and mounted by imgkit itself under Debian's kernel",
        f"{answer['kernel']} in qemu without KVM, {files} files in each; `dirty` is a copy taken while the image was",
        "mounted for writing. `unchanged`: sha256, size, mtime, ctime and atime of the image are equal before and after.",
        "vfat, iso9660 and udf run under User-Mode Linux in every `make test`.",
        "",
        "| image | mounted with | view | journal | files seen | image |",
        "|---|---|---|---|---|---|",
        *(_row(name, answer[name]) for name in NAMES),
        "",
    ]
    return "\n".join(lines)


def _row(name: str, seen: dict[str, Any]) -> str:
    label = name.replace(":fill", ", clean").replace(":dirty", ", dirty")
    state = "unchanged" if seen["after"] == seen["before"] else "CHANGED"
    if "error" in seen:
        return f"| {label} | refused: {seen['error']['message'].partition('; ')[0]} | | | | {state} |"
    shown = seen["mount"]
    options = ",".join(option for option in shown["options"] if option in {"ro", "norecovery"})
    cells = (label, f"{shown['filesystem']}: {options}", shown["view"], shown["journal"], len(seen["files"]))
    return "| " + " | ".join(str(cell) for cell in (*cells, state)) + " |"

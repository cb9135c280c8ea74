"""doctor looks at a copy of a host's proc, sys, dev and etc; and at this host, without changing it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imgkit import doctor
from imgkit.doctor import Check, examine_host, udev_rule, udev_rule_present

if TYPE_CHECKING:
    from pathlib import Path

MODULES = {"iso9660": "isofs", "ntfs": "ntfs3"}
ALL_CAPABILITIES = "CapEff:\t000001ffffffffff\n"


def put(root: Path, path: str, text: str = "") -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which nothing is missing."""
    put(tmp_path, "proc/sys/kernel/osrelease", "6.12.0-1-amd64\n")
    put(tmp_path, "proc/self/status", ALL_CAPABILITIES)
    put(tmp_path, "proc/self/uid_map", "         0          0 4294967295\n")
    put(tmp_path, "proc/filesystems", "nodev\tproc\n\text4\n\txfs\n")
    modules = "".join(
        f"kernel/fs/{n}/{doctor.MODULE_NAMES.get(n, n)}.ko.xz: x.ko\n" for n in doctor.FILE_SYSTEMS
    )
    put(tmp_path, "lib/modules/6.12.0-1-amd64/modules.dep", modules)
    for node in ("loop-control", "loop0", "loop1", "fuse"):
        put(tmp_path, f"dev/{node}")
    put(tmp_path, "sys/block/loop0/loop/backing_file", "/x.img\n")
    put(tmp_path, "sys/block/loop1/size", "0\n")
    for command in ("fusermount3", "ssh-keygen"):
        put(tmp_path, f"usr/bin/{command}")
        (tmp_path / "usr/bin" / command).chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin")
    return tmp_path


def checks(root: Path) -> dict[str, Check]:
    return {check.name: check for check in examine_host(root=str(root))}


def gaps(root: Path) -> set[str]:
    return {name for name, check in checks(root).items() if not check.ok} - {
        "host.clock",
        "kernel.landlock",
    }  # of the kernel that runs


def test_nothing_is_missing(host: Path) -> None:
    assert gaps(host) == set()
    assert checks(host)["kernel.loop-devices"].found.startswith("1 of 2 free")


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("proc/sys/kernel/osrelease", "5.7.19\n", "kernel.version"),
        ("proc/sys/kernel/osrelease", "", "kernel.version"),
        ("proc/self/status", "CapEff:\t0000000000000000\n", "kernel.cap-sys-admin"),
        ("proc/self/uid_map", "0 1000 1\n", "kernel.cap-sys-admin"),
        ("sys/block/loop7/size", "0\n", "kernel.loop-devices"),
        ("run/udev/control", "", "host.udev-rule"),
    ],
)
def test_a_gap_has_a_cost_and_a_remedy(host: Path, path: str, text: str, name: str) -> None:
    put(host, path, text)
    check = checks(host)[name]
    assert not check.ok
    assert check.found
    assert check.cost
    assert check.remedy


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("dev/loop-control", "kernel.loop-control"),
        ("dev/fuse", "kernel.fuse"),
        ("usr/bin/fusermount3", "expose.fusermount3"),
        ("usr/bin/ssh-keygen", "custody.ssh-keygen"),
    ],
)
def test_what_is_taken_away_is_missed(host: Path, path: str, name: str) -> None:
    (host / path).unlink()
    assert gaps(host) == {name}


def test_file_systems_of_the_kernel_and_its_modules(host: Path) -> None:
    seen = checks(host)
    assert seen["filesystem.ext4"].found == "ext4, in the kernel"
    assert seen["filesystem.iso9660"].found == "iso9660, a module, loaded when needed"
    put(host, "lib/modules/6.12.0-1-amd64/modules.dep", "kernel/fs/isofs/isofs.ko:\n")
    assert "filesystem.vfat" in gaps(host)
    assert "filesystem.iso9660" not in gaps(host)
    assert "ntfs-3g" in checks(host)["filesystem.ntfs"].remedy


@pytest.mark.parametrize("folder", doctor.UDEV_RULES_FOLDERS)
def test_the_rule_it_prints_is_the_rule_it_finds(host: Path, folder: str) -> None:
    put(host, "run/udev/control")
    put(host, f"{folder}/{doctor.UDEV_RULES_NAME}", udev_rule())
    assert udev_rule_present(str(host)) == str(host / folder / doctor.UDEV_RULES_NAME)
    assert gaps(host) == set()


def test_a_rule_narrowed_to_a_folder_counts_and_a_comment_does_not(host: Path) -> None:
    narrowed = doctor.UDEV_RULE.replace(
        'ATTR{ro}=="1"', 'ATTR{ro}=="1", ATTR{loop/backing_file}=="/evidence/*"'
    )
    put(host, "etc/udev/rules.d/10-ours.rules", f"# {doctor.UDEV_RULE}\n")
    assert udev_rule_present(str(host)) is None
    put(host, "etc/udev/rules.d/10-ours.rules", narrowed + "\n")
    assert udev_rule_present(str(host)) is not None


def test_this_host_is_left_as_it_was() -> None:
    before = sorted(os.listdir("/dev"))
    seen = {check.name: check for check in examine_host()}
    assert sorted(os.listdir("/dev")) == before
    assert seen["kernel.version"].ok
    assert all(check.ok == (check.cost == "") == (check.remedy == "") for check in seen.values())

"""What this host can do: facts with what each gap costs and how to close it. Looks, changes nothing, starts nothing."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field

MINIMUM_KERNEL = (5, 8)  # LOOP_CONFIGURE: the first call that binds, limits and locks a device in one step
CAP_SYS_ADMIN = 21
WHOLE_USER_NAMESPACE = (
    4_294_967_295  # ids mapped in the first user namespace, the only one that may mount media
)

UDEV_RULES_NAME = "10-imgkit.rules"
UDEV_RULES_FOLDERS = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
UDEV_RULE = (
    'SUBSYSTEM=="block", KERNEL=="loop[0-9]*", ATTR{ro}=="1", '
    'ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1", '
    'ENV{DM_MULTIPATH_DEVICE_PATH}="0", ENV{UDISKS_IGNORE}="1"'
)
UDEV_COMMENT = f"""\
# Keep the host's storage services off evidence. Install as /etc/udev/rules.d/{UDEV_RULES_NAME}
# (the name sorts before 60-persistent-storage.rules, which is what it has to be ahead of), then:
#   udevadm control --reload
#
# A read-only loop device is not probed for a file system. LVM, md, btrfs and bcache act on the type that this probe
# finds, so none of them takes a device up by itself, and no /dev/disk/by-uuid or by-label link points into evidence,
# where it could stand in for a disk of this host. UDISKS_IGNORE keeps desktops from showing or mounting it.
#
# It covers every read-only loop device, since nothing that udev can see tells imgkit's from another's: snaps and live
# systems mount theirs by file name and do not notice; a fstab line that finds a read-only loop by UUID or label does.
# Where all evidence lies below one folder, add  ATTR{{loop/backing_file}}=="/evidence/*",  to match that only.
# It does not stop somebody who runs vgchange, mdadm --assemble or mount by hand.
"""

# What an examiner is likely to meet; drivers and stand-ins are rows of filesystems/mount_options.py.
FILE_SYSTEMS = (
    "ext4", "xfs", "btrfs", "vfat", "exfat", "ntfs", "iso9660", "udf", "hfsplus", "squashfs", "erofs", "f2fs", "jfs",
    "nilfs2",
)  # fmt: skip
MODULE_NAMES = {"iso9660": "isofs"}  # where the module is not called what /proc/filesystems says


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Attributes:
        name: Stable and dotted: `kernel.version`.
        ok: Whether nothing is missing.
        found: What was seen, in words.
        cost: What cannot be done, or is weaker, while it is missing; empty where ok.
        remedy: How to close the gap; empty where ok.
    """

    name: str
    ok: bool
    found: str
    cost: str = field(default="")
    remedy: str = field(default="")


def good(name: str, found: str) -> Check:
    """Nothing is missing."""
    return Check(name, ok=True, found=found)


def gap(name: str, found: str, cost: str, remedy: str) -> Check:
    """Something is."""
    return Check(name, ok=False, found=found, cost=cost, remedy=remedy)


def examine_host(*, root: str = "/") -> list[Check]:
    """Look at everything imgkit can use of this host.

    Args:
        root: Folder that holds proc, sys, dev, etc, lib and usr: the host's own, or a copy in a test.
    """
    return [
        kernel_version(root),
        administrator(root),
        loop_control(root),
        loop_devices(root),
        *file_systems(root),
        blkid_library(),
        libtsk(),
        fuse(root),
        landlock(),
        program(
            "fusermount3",
            "expose.fusermount3",
            "imgkit expose needs root; attach of split sets and containers does not need it",
            "fuse3 (apt install fuse3)",
            root,
        ),
        program(
            "ssh-keygen",
            "custody.ssh-keygen",
            "checkpoints of a log cannot be signed",
            "openssh-client",
            root,
        ),
        clock(),
        udev(root),
    ]


def udev_rule() -> str:
    """The rules file that keeps udisks, LVM, md and btrfs off read-only loop devices, with its trade-offs in comments."""
    return f"{UDEV_COMMENT}{UDEV_RULE}\n"


def udevd_running(root: str = "/") -> bool:
    """Whether a udev daemon answers on this host (not in most containers)."""
    return os.path.exists(os.path.join(root, "run/udev/control"))


def udev_rule_present(root: str = "/") -> str | None:
    """Path of an installed rules file that has both marks for read-only loop devices, or None."""
    for folder in UDEV_RULES_FOLDERS:
        for name in sorted(names_in(os.path.join(root, folder))):
            path = os.path.join(root, folder, name)
            if name.endswith(".rules") and any(is_quarantine(line) for line in read(path).splitlines()):
                return path
    return None


def is_quarantine(line: str) -> bool:
    """A rule for loop devices that hides them from udisks and from the probe for file systems, however narrowed."""
    wanted = (
        'KERNEL=="loop',
        'ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"',
        'ENV{UDISKS_IGNORE}="1"',
    )
    return not line.lstrip().startswith("#") and all(word in line for word in wanted)


def kernel_version(root: str) -> Check:
    """LOOP_CONFIGURE, or nothing can be attached."""
    release = read(os.path.join(root, "proc/sys/kernel/osrelease")).strip()
    match = re.match(r"(\d+)\.(\d+)", release)
    found = f"Linux {release}" if release else "not stated in /proc"
    if match and (int(match[1]), int(match[2])) >= MINIMUM_KERNEL:
        return good("kernel.version", found)
    return gap("kernel.version", found, "attach and mount are not possible", "use Linux 5.8 or newer")


def administrator(root: str) -> Check:
    """CAP_SYS_ADMIN in the first user namespace: root of a rootless container has it only in its own."""
    status = read(os.path.join(root, "proc/self/status"))
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    has = bool(match and int(match[1], 16) >> CAP_SYS_ADMIN & 1)
    mapped = read(os.path.join(root, "proc/self/uid_map")).split()
    whole = not mapped or int(mapped[-1]) == WHOLE_USER_NAMESPACE
    if has and whole:
        return good("kernel.cap-sys-admin", "held")
    found = "held, but only in a user namespace" if has else "not held"
    cost = "attach, mount, detach and unmount are not possible; all else is"
    remedy = "run outside the rootless container" if has else "run these commands with sudo"
    return gap("kernel.cap-sys-admin", found, cost, remedy)


def loop_control(root: str) -> Check:
    """The node that hands out free devices; opened to see whether we may, which changes nothing."""
    path, name = os.path.join(root, "dev/loop-control"), "kernel.loop-control"
    cost = "attach and mount are not possible"
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        remedy = (
            "modprobe loop; in a container: pass /dev/loop-control in, or mknod /dev/loop-control c 10 237"
        )
        return gap(name, f"no {path}", cost, remedy)
    except OSError as error:
        denied = error.errno in (errno.EACCES, errno.EPERM)
        remedy = "run with sudo; in a container: allow the device" if denied else "modprobe loop"
        return gap(name, f"{path}: {os.strerror(error.errno or 0)}", cost, remedy)
    return good(name, path)


def loop_devices(root: str) -> Check:
    """Counted in sysfs; LOOP_CTL_GET_FREE would make one."""
    known = [name for name in names_in(os.path.join(root, "sys/block")) if re.fullmatch(r"loop\d+", name)]
    bound = [n for n in known if os.path.exists(os.path.join(root, "sys/block", n, "loop"))]
    found = f"{len(known) - len(bound)} of {len(known)} free, the kernel makes more when asked"
    missing = [n for n in known if not os.path.exists(os.path.join(root, "dev", n))]
    if not missing:
        return good("kernel.loop-devices", found)
    shown = ", ".join(f"/dev/{n}" for n in missing[:3]) + (" …" if len(missing) > 3 else "")  # noqa: PLR2004  (names enough to see the pattern)
    cost = "attach fails where imgkit may not make the missing node itself"
    remedy = "in a container: bind-mount the host's /dev, or allow block devices of major 7 and mknod"
    return gap("kernel.loop-devices", f"{found}; no node for {shown}", cost, remedy)


def file_systems(root: str) -> list[Check]:
    """One check for each file system an examiner is likely to meet."""
    lines = read(os.path.join(root, "proc/filesystems")).splitlines()
    loaded = {line.split()[-1] for line in lines if line.strip()}
    modules = available_modules(root)
    return [file_system(name, loaded, modules, root) for name in FILE_SYSTEMS]


def file_system(name: str, loaded: set[str], modules: set[str], root: str) -> Check:
    """In the kernel, as a module that would be loaded at the mount, or neither."""
    from imgkit.filesystems.mount_options import FILESYSTEMS  # noqa: PLC0415  (only where used)

    row, title = FILESYSTEMS[name], f"filesystem.{name}"
    for driver in row.drivers:
        if driver in loaded:
            return good(title, f"{driver}, in the kernel")
        if MODULE_NAMES.get(driver, driver) in modules:
            return good(title, f"{driver}, a module, loaded when needed")
    remedy = "use a kernel with it (Debian: linux-image-amd64)"
    found = f"no {' or '.join(row.drivers)} in this kernel"
    if row.fuse is not None:
        where = find_program(row.fuse.split()[0], root)
        found += f"; {where} is there" if where else ""
        remedy += f", or attach it and run {row.fuse.format(device='/dev/loopN')}"
    return gap(title, found, f"{name} can be attached but not mounted", remedy)


def available_modules(root: str) -> set[str]:
    """Names of the modules of the running kernel, those built in included."""
    release = read(os.path.join(root, "proc/sys/kernel/osrelease")).strip()
    folder = os.path.join(root, "lib/modules", release)
    lines = read(os.path.join(folder, "modules.dep")) + read(os.path.join(folder, "modules.builtin"))
    return {match[1] for match in re.finditer(r"^[^:\n]*?([^/:\n]+)\.ko", lines, re.MULTILINE)}


def blkid_library() -> Check:
    """Libblkid names file systems and is the second witness of partition tables."""
    from imgkit.blkid import library_version  # noqa: PLC0415  (ctypes, only where used)

    version = library_version()
    if version is not None:
        return good("library.libblkid", f"libblkid {version}")
    cost = "file systems are not named, SGI, Atari and Minix labels are not read, and one witness is missing"
    return gap("library.libblkid", "not found", cost, "install libblkid1 (it comes with mount)")


def libtsk() -> Check:
    """pytsk3 is a dependency; a broken installation is worth a line of its own."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  (15 ms, only where used)

    try:
        return good("library.pytsk3", f"pytsk3 {version('pytsk3')}")
    except PackageNotFoundError:
        cost = "apple, bsd and sun labels are not read, and one witness is missing"
        return gap("library.pytsk3", "not installed", cost, "pip install pytsk3")


def fuse(root: str) -> Check:
    """The driver through which an image that is not one plain file goes below a loop device, or into a directory."""
    node = os.path.join(root, "dev/fuse")
    if os.path.exists(node):
        return good("kernel.fuse", node)
    cost = "only single raw files can be attached, and nothing exposed: split sets and containers need FUSE"
    return gap("kernel.fuse", f"no {node}", cost, "modprobe fuse; in a container: pass /dev/fuse in")


def landlock() -> Check:
    """What keeps the process that serves an image from every other file."""
    from imgkit.linux.landlock import abi_version  # noqa: PLC0415  (ctypes, only where used)

    try:
        return good("kernel.landlock", f"ABI {abi_version()}")
    except OSError as error:
        cost = "the process that serves an attached container is not confined to the files of its image"
        remedy = "use Linux 5.13 or newer with landlock among the lsm= of its command line"
        return gap("kernel.landlock", error.strerror or "not there", cost, remedy)


def program(command: str, name: str, cost: str, package: str, root: str) -> Check:
    """A program that imgkit starts for something it does not do itself."""
    where = find_program(command, root)
    if where is not None:
        return good(name, where)
    return gap(name, f"no {command} on PATH", cost, f"install {package}")


def clock() -> Check:
    """Times in a custody log say whether the clock was synchronised."""
    from imgkit.linux.files import clock_unsynchronised  # noqa: PLC0415  (ctypes, only where used)

    if not clock_unsynchronised():
        return good("host.clock", "synchronised")
    cost = "every record says so, and its time proves less"
    return gap("host.clock", "not synchronised", cost, "run chrony or systemd-timesyncd")


def udev(root: str) -> Check:
    """Where udevd runs, services take up what looks like theirs, unless a rule keeps them off."""
    name = "host.udev-rule"
    if not udevd_running(root):
        return good(name, "no udevd runs here: nothing takes up devices by itself")
    where = udev_rule_present(root)
    if where is not None:
        return good(name, where)
    cost = "udisks, LVM, md and btrfs of this host may take up attached evidence (read-only, but named and scanned)"
    remedy = (
        f"imgkit doctor --print-udev-rule | sudo tee /etc/udev/rules.d/{UDEV_RULES_NAME}"
        " && sudo udevadm control --reload"
    )
    return gap(name, "udevd runs and no rule keeps it off read-only loop devices", cost, remedy)


def find_program(command: str, root: str) -> str | None:
    """First executable of that name on PATH, and in the two sbin folders that an ordinary user's PATH lacks."""
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/sbin"):
        path = os.path.join(root, folder.lstrip("/"), command)
        if folder and os.access(path, os.X_OK):
            return path
    return None


def names_in(folder: str) -> list[str]:
    """Names in a folder; none where it is not there or not ours to read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read(path: str) -> str:
    """A small text file; empty where it is not there or not ours to read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""

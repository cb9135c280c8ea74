"""One command as root under Debian's 6.12 kernel in qemu without KVM: it has ntfs3 and exfat, at a fifth of the speed.

Needs qemu-system-x86, kmod and busybox-static (packages-kernels.txt). The kernel's package is downloaded and unpacked
into a cache folder, not installed: the host's boot loader and modules stay as they are.
"""

from __future__ import annotations

import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kernels import guest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGE = "linux-image-6.12-amd64"  # a metapackage: it depends on the newest 6.12
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "loop")

INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for m in {modules}; do insmod /modules/$m || echo "no module $m"; done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=1048576 host /lower || echo "no 9p"
{stage}
poweroff -f
"""


def possible() -> bool:
    """Whether what it needs is installed; the kernel's package is fetched on first use."""
    tools = ("qemu-system-x86_64", "apt-get", "dpkg-deb", "depmod", "modprobe")
    return all(shutil.which(tool) for tool in tools) and Path(guest.BUSYBOX).exists()


def kernel() -> Path:
    """The unpacked kernel package: boot/vmlinuz-* and lib/modules/*, ready for modprobe."""
    cache = Path(__file__).parents[2] / "build" / "kernels"
    cache.mkdir(parents=True, exist_ok=True)
    name = _newest()
    unpacked = cache / name
    if not unpacked.is_dir():
        with tempfile.TemporaryDirectory(prefix="kernel-", dir=cache) as folder:
            _run(["apt-get", "download", "-qq", name], cwd=folder)
            package = next(Path(folder).glob("*.deb"))
            tree = Path(folder) / "tree"
            _run(["dpkg-deb", "-x", str(package), str(tree)])
            _run(["depmod", "-b", str(tree), _release(tree)])
            tree.rename(unpacked)
    return unpacked


def _newest() -> str:
    listing = _run(["apt-cache", "depends", PACKAGE])
    return next(
        line.split()[1] for line in listing.splitlines() if line.strip().startswith("Depends: linux-image-")
    )


def _release(tree: Path) -> str:
    return next((tree / "lib/modules").iterdir()).name


def _run(argv: list[str], cwd: str | None = None) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd=cwd).stdout


def _modules(tree: Path, names: Sequence[str]) -> Iterator[Path]:
    """Files to insert, in order, each once; what is built in needs none."""
    seen = set()
    for name in names:
        listing = _run(["modprobe", "-d", str(tree), "-S", _release(tree), "--show-depends", name])
        for line in listing.splitlines():
            word, _, path = line.strip().partition(" ")
            if word == "insmod" and path not in seen:
                seen.add(path)
                yield Path(path.split()[0])


class _Archive:
    """A cpio archive as the kernel takes it (Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._number = 0

    def add(self, name: str, mode: int, content: bytes = b"") -> None:
        """One member; `mode` with its type."""
        self._number += 1
        encoded = name.encode() + b"\0"
        fields = (self._number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (head + encoded, content):
            self._parts.append(part + bytes(-len(part) % 4))

    def bytes(self) -> bytes:
        """The whole archive with its trailer."""
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def _initramfs(tree: Path, modules: Sequence[str], stage: str) -> bytes:
    archive = _Archive()
    for folder in ("bin", "proc", "sys", "dev", "mnt", "lower", "modules"):
        archive.add(folder, 0o40755)
    archive.add("bin/busybox", 0o100755, Path(guest.BUSYBOX).read_bytes())
    names = []
    for path in _modules(tree, modules):
        content = path.read_bytes()
        name = path.name.removesuffix(".xz")
        archive.add(
            f"modules/{name}", 0o100644, lzma.decompress(content) if path.suffix == ".xz" else content
        )
        names.append(name)
    archive.add("init", 0o100755, INIT.format(modules=" ".join(names), stage=stage).encode())
    return archive.bytes()


def run(
    command: Sequence[str], *, modules: Sequence[str], memory: str = "2G", timeout: float = 900
) -> guest.Ran:
    """Boots, loads the modules, runs the command in the checkout, powers off."""
    tree = kernel()
    with tempfile.TemporaryDirectory(prefix="qemu-", dir="/var/tmp") as folder:
        mark = Path(folder).name.upper()
        initramfs = Path(folder) / "initramfs"
        stage = guest.stage(command, lower="/lower", mark=mark)
        initramfs.write_bytes(_initramfs(tree, (*BOOT_MODULES, *modules), stage))
        vmlinuz = next((tree / "boot").glob("vmlinuz-*"))
        argv = [
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            memory,
            "-nodefaults",
            "-no-reboot",
        ]
        argv += ["-display", "none", "-serial", "stdio", "-kernel", str(vmlinuz), "-initrd", str(initramfs)]
        argv += ["-append", "console=ttyS0 quiet panic=-1"]
        argv += ["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"]
        return guest.watch(argv, mark=mark, timeout=timeout)

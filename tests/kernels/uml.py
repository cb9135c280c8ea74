"""One command as root in a User-Mode Linux kernel over this machine's own files: 3 to 6 seconds, no root, no KVM.

Needs Debian's user-mode-linux (linux.uml and modules of 6.1: vfat, iso9660, udf, hfsplus …), kmod and busybox-static.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kernels import guest, wide_registers

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULES = Path("/usr/lib/uml/modules")
INIT = """\
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc p /proc; mount -t sysfs s /sys
for m in overlay loop {modules}; do modprobe -d {tree} $m || echo "no module $m"; done
{stage}
exec {busybox} poweroff -f
"""


def possible() -> bool:
    """Whether what it needs is installed."""
    return shutil.which("linux.uml") is not None and MODULES.is_dir() and Path(guest.BUSYBOX).exists()


def run(
    command: Sequence[str], *, modules: Sequence[str], memory: str = "768M", timeout: float = 120
) -> guest.Ran:
    """Boots, loads the modules, runs the command in the checkout, powers off."""
    # Not below /dev, which is the guest's own; the name is the guest's id, so two runs never meet.
    with tempfile.TemporaryDirectory(prefix="uml-", dir="/var/tmp") as folder:
        work = Path(folder)
        (work / "lib").mkdir()
        (work / "lib/modules").symlink_to(MODULES)
        mark = work.name.upper()
        lines = guest.stage(command, lower="/", mark=mark)
        init = work / "init.sh"
        names = " ".join(modules)
        init.write_text(INIT.format(modules=names, tree=work, stage=lines, busybox=guest.BUSYBOX))
        init.chmod(0o755)
        options = ["rootfstype=hostfs", "rootflags=/", "ro", "con=null", "con0=null,fd:1", "quiet"]
        argv = [
            "linux.uml",
            f"mem={memory}",
            *options,
            f"init={init}",
            f"umid={work.name}",
            f"uml_dir={work}/",
        ]
        wrapped = [sys.executable, wide_registers.__file__, *argv, *wide_registers.ENVIRONMENT]
        if wide_registers.needed():
            return guest.watch(wrapped, mark=mark, timeout=timeout)
        ran = guest.watch(argv, mark=mark, timeout=timeout)
        if ran.status is None and wide_registers.SYMPTOM in ran.console:
            return guest.watch(wrapped, mark=mark, timeout=timeout)
        return ran

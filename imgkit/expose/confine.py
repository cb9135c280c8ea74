"""What the process that serves gives up, before it opens the image and after: docs/containers/expose.md."""

from __future__ import annotations

import errno
import os
import resource
import sys
from typing import TYPE_CHECKING

from imgkit.linux import landlock, prctl
from imgkit.linux.files import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMORY_LIMIT = 768 << 20
_NOBODY = 65534
_REOPENED_ABOVE = 32  # files; readers keep that many open whatever the limits are
_CODE_FOLDERS = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/dev/null",
    "/dev/urandom",
    "/sys/devices/system/cpu",
)
NO_NOBODY = "the process that serves the image stays root, without root's rights: there is no other user here"
NO_LANDLOCK = "the process that serves the image is not confined to its files: this kernel offers no landlock"


def limit_resources() -> None:
    """Memory bounded whatever the image claims, no file written, no core dump; as many descriptors as may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    data = MEMORY_LIMIT if most == resource.RLIM_INFINITY else min(MEMORY_LIMIT, most)
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    for kind in (
        resource.RLIMIT_CORE,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_MEMLOCK,
        resource.RLIMIT_MSGQUEUE,
    ):
        resource.setrlimit(kind, (0, 0))
    prctl.set_no_new_privs()
    prctl.set_undumpable()


def become(identity: Identity) -> None:
    """Be that user, wholly and for good; the rights of root go with it.

    Raises:
        OSError: EPERM.
    """
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


def deny_all_but(files: Iterable[str], *, opening: bool) -> bool:
    """Deny this process everything but reading these files; False where the kernel has no landlock.

    Args:
        files: What may be read.
        opening: For the time in which the image is opened: code may still be loaded, and the folders of the files listed.
    """
    try:
        abi = landlock.abi_version()
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EOPNOTSUPP}:
            return False
        raise
    ruleset = landlock.create_ruleset(abi)
    try:
        for path in files:
            landlock.allow_beneath(ruleset, path, landlock.READ_FILE)
        if opening:
            _allow_opening(ruleset, files)
        landlock.restrict_self(ruleset)
    finally:
        os.close(ruleset)
    return True


def _allow_opening(ruleset: int, files: Iterable[str]) -> None:
    for folder in sorted({os.path.dirname(path) for path in files}):
        landlock.allow_beneath(ruleset, folder, landlock.READ_DIR)
    for place in (*_CODE_FOLDERS, *sys.path, sys.prefix, sys.base_prefix):
        if os.path.isdir(place):
            landlock.allow_beneath(ruleset, place, landlock.READ_FILE | landlock.READ_DIR)
        elif os.path.exists(place):
            landlock.allow_beneath(ruleset, place, landlock.READ_FILE)


def drop_privileges(files: int) -> bool:
    """Root becomes nobody; False where there is no nobody (a user namespace with one user): it stays root without rights.

    For an image of so many files that some are opened again later, it keeps the right to read them. CAP_FOWNER goes with
    that: without it they would be opened without O_NOATIME, and their access time would change.
    """
    if os.geteuid() != 0:
        prctl.set_capabilities(frozenset())
        return True
    kept = (
        frozenset({prctl.CAP_DAC_READ_SEARCH, prctl.CAP_FOWNER}) if files > _REOPENED_ABOVE else frozenset()
    )
    prctl.set_keep_capabilities(keep=bool(kept))
    try:
        become(Identity(_NOBODY, _NOBODY))
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EINVAL}:
            raise
    prctl.set_capabilities(kept)
    prctl.set_undumpable()
    return os.geteuid() != 0

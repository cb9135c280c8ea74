"""From a read-only loop device to a detached read-only mount: plain `ro` first, then the row's fallbacks."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgkit.errors import HostError, MountError, NotMountable, NotPermitted
from imgkit.linux import mount as kernel

if TYPE_CHECKING:
    from imgkit.filesystems.mount_options import Fallback, Journal, MountRow, View

_ATTRIBUTES = (
    kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOEXEC
)
_NAMES = ("ro", "nosuid", "nodev", "noexec")

# Other options change nothing about these.
_FINAL = {errno.EPERM, errno.EACCES, errno.EBUSY, errno.ENOMEM, errno.EINTR, errno.ENODEV, errno.ENOTBLK}
_WOULD_WRITE = ("log replay required", "unable to replay log")  # fs/btrfs/disk-io.c, fs/reiserfs/journal.c
_WORDS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Refusal:
    """One attempt that the kernel refused.

    Attributes:
        options: What was asked for besides `ro`.
        error: What came back.
        words: What the kernel said, in the context and in its log.
    """

    options: tuple[str, ...]
    error: OSError
    words: tuple[str, ...]

    @property
    def says_dirty(self) -> bool:
        """Whether the driver would have to write to go on: EROFS; btrfs and reiserfs say it in the log only."""
        if self.error.errno == errno.EROFS:
            return True
        return any(phrase in word for phrase in _WOULD_WRITE for word in self.words)


@dataclass(frozen=True, slots=True)
class Detached:
    """A mount that is attached to nothing yet; it vanishes with `fd`.

    Attributes:
        fd: The mount.
        driver: The kernel's type.
        options: Asked for, the mount's own included.
        in_force: Words to be found among the superblock's options.
        view: What is seen.
        journal: What the attempts showed of the journal.
        notices: For the examiner.
    """

    fd: int
    driver: str
    options: tuple[str, ...]
    in_force: tuple[str, ...]
    view: View
    journal: Journal
    notices: tuple[str, ...]


def detached_mount(device: str, row: MountRow, type_name: str) -> Detached:
    """Makes the superblock of `device` with as few options as the driver accepts.

    Raises:
        NotMountable: The kernel has no driver for it.
        MountError: The driver refused every attempt; the message has the kernel's words.
        NotPermitted: CAP_SYS_ADMIN is missing.
    """
    driver = driver_of(device, row, type_name)
    refusals: list[Refusal] = []
    attempts: tuple[Fallback | None, ...] = (None, *row.fallbacks)
    with kernel.KernelLog() as log:
        for attempt in attempts:
            options = row.always + (attempt.options if attempt else ())
            try:
                fd, names = _made(driver, device, options)
            except _RefusedError as refused:
                words = (*refused.messages, *log.about(os.path.basename(device)))
                refusals.append(Refusal(options, refused.error, words))
                if refused.error.errno in _FINAL:
                    break
            else:
                seen = _seen(row, attempt, driver, refusals)
                return Detached(fd, driver, names + options, attempt.in_force if attempt else (), *seen)
        raise _no_attempt_left(device, driver, refusals, log_readable=log.readable)


class _RefusedError(Exception):
    """The kernel refused one attempt."""

    def __init__(self, error: OSError, messages: list[str]) -> None:
        super().__init__(str(error))
        self.error = error
        self.messages = messages


def driver_of(device: str, row: MountRow, type_name: str) -> str:
    """The first of the row's drivers that the kernel has (it loads a module if it can).

    Raises:
        NotMountable: It has none of them; the hint is the FUSE command that would do.
        NotPermitted: CAP_SYS_ADMIN is missing.
        HostError: The kernel is too old to be asked.
    """
    for name in row.drivers:
        try:
            os.close(kernel.fsopen(name))
        except OSError as error:
            if error.errno == errno.ENODEV:
                continue
            raise _not_opened(device, error) from error
        return name
    wanted = (
        f"this kernel has no driver for {type_name}"
        if row.drivers
        else f"Linux has no driver for {type_name}"
    )
    msg = f"cannot mount {device}: {wanted}"
    raise NotMountable(msg, hint=row.fuse.format(device=device) if row.fuse else None)


def _not_opened(device: str, error: OSError) -> NotPermitted | HostError | MountError:
    if error.errno == errno.EPERM:
        msg = f"not permitted to mount {device}: it needs CAP_SYS_ADMIN"
        return NotPermitted(msg, hint="run the command with sudo")
    if error.errno == errno.ENOSYS:
        msg = f"cannot mount {device}: the kernel lacks fsopen(2), which came with Linux 5.2"
        return HostError(msg, hint="use a newer kernel")
    return MountError(f"cannot mount {device}: {error.strerror}")


def _made(driver: str, device: str, options: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """One attempt: the mount's descriptor and the names of the mount's own options."""
    context = kernel.fsopen(driver)
    try:
        kernel.fsconfig_string(context, "source", device)
        kernel.fsconfig_flag(context, "ro")
        for option in options:
            key, equals, value = option.partition("=")
            if equals:
                kernel.fsconfig_string(context, key, value)
            else:
                kernel.fsconfig_flag(context, key)
        _create(context)
        return _mount_of(context)
    except OSError as error:
        raise _RefusedError(error, kernel.context_messages(context)) from error
    finally:
        os.close(context)


def _create(context: int) -> None:
    """Exclusively where the kernel can (6.6); whoever calls has looked in mountinfo for the other kernels."""
    try:
        kernel.fsconfig_create(context, exclusive=True)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        kernel.fsconfig_create(context, exclusive=False)


def _mount_of(context: int) -> tuple[int, tuple[str, ...]]:
    try:
        return kernel.fsmount(context, _ATTRIBUTES | kernel.MOUNT_ATTR_NOSYMFOLLOW), (*_NAMES, "nosymfollow")
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: before 5.14 the flag is not known
            raise
        return kernel.fsmount(context, _ATTRIBUTES), _NAMES


def _seen(
    row: MountRow, attempt: Fallback | None, driver: str, refusals: list[Refusal]
) -> tuple[View, Journal, tuple[str, ...]]:
    """View, journal and notices of the attempt that succeeded after those refusals."""
    if attempt is None:
        return row.view, row.journal, (row.notice,) if row.notice else ()
    if attempt.view == "current":
        return row.view, row.journal, (attempt.notice,)
    dirty = any(refusal.says_dirty for refusal in refusals)
    why = "its journal is dirty" if dirty else f"mounting it plainly failed ({refusals[0].error.strerror})"
    notice = f"{driver} mounted with {','.join(attempt.options)}, because {why}; {attempt.notice}"
    return attempt.view, "dirty" if dirty else "unknown", (notice,)


def _no_attempt_left(device: str, driver: str, refusals: list[Refusal], *, log_readable: bool) -> MountError:
    """The error of the first attempt, for it asked for the least, with the last of what the kernel said about it."""
    first = refusals[0]
    said = list(dict.fromkeys(first.words))[-_WORDS_SHOWN:]
    msg = f"cannot mount {device} as {driver}: {_reason(first)}"
    if said:
        msg += "; the kernel says: " + "; ".join(said)
    hint = (
        None
        if said or log_readable
        else "the kernel's log (/dev/kmsg), which may say why, is not readable here"
    )
    return MountError(msg, hint=hint)


def _reason(refusal: Refusal) -> str:
    if refusal.says_dirty:
        return "its journal is dirty, and no option shows it without replaying"
    if refusal.error.errno == errno.EBUSY:
        return "it is mounted already, in this or another mount namespace, or in use"
    if refusal.error.errno == errno.EEXIST:  # btrfs before 6.7
        return "a file system with the same UUID is mounted, and this kernel cannot mount both"
    return refusal.error.strerror or str(refusal.error)

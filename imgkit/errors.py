"""Every exception imgkit raises: one class per kind of thing a caller would handle differently.

A mismatch is never an exception (it is a value); an exception means "could not find out" or "could not do it".
The message is one sentence: what was tried, on what, what came back. The hint says what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class ImgkitError(Exception):
    """Base of all errors that imgkit raises on purpose.

    Attributes:
        message: One sentence, lower case, no full stop.
        hint: The next step, or None where there is none.
        kind: Stable dotted name, the `kind` of the JSON error document.
        exit_code: What the command line exits with.
    """

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(ImgkitError):
    """A malformed digest, number or option: the caller asked for something that cannot be meant."""

    kind = "usage"
    exit_code = 2


class NotPermitted(ImgkitError):
    """The kernel or the file system refused because of who asks (EPERM, EACCES)."""

    kind = "not-permitted"


class ImageError(ImgkitError):
    """The image cannot be opened or read as what it is."""

    kind = "image"


class UnknownFormat(ImageError):
    """The content is a format that is recognised but not read, or no image at all (a directory, a FIFO)."""

    kind = "image.unknown-format"


class MissingSegment(ImageError):
    """A file of a set is absent, short, or belongs to another set; the message names it."""

    kind = "image.missing-segment"


class CorruptImage(ImageError):
    """The container contradicts itself."""

    kind = "image.corrupt"


class IncompleteChain(ImageError):
    """A parent or backing file of a differencing image is absent."""

    kind = "image.incomplete-chain"


class MediaReadError(ImageError):
    """Bytes of the media could not be read.

    Attributes:
        offset: First byte of the media that could not be read.
        length: How many bytes, from there, are affected as far as known.
        errno: What the kernel said, or None.
        ranges: (offset, length, reason) of everything that could not be read of what was asked for, ascending; then
            every other byte of the buffer is filled. Empty: the reader stopped at the first, and nothing is promised.
    """

    kind = "image.read"

    def __init__(
        self,
        message: str,
        *,
        offset: int,
        length: int,
        errno: int | None = None,
        hint: str | None = None,
        ranges: tuple[tuple[int, int, str], ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset
        self.length = length
        self.errno = errno
        self.ranges = ranges


class CorruptMedia(MediaReadError, CorruptImage):
    """A part of a container (a chunk, a table, a cluster) fails its own check: its bytes of the media are not served."""

    kind = "image.corrupt"


class ReferenceFileError(ImgkitError):
    """A file that states digests cannot be read or states nothing usable."""

    kind = "reference"


class PartitionError(ImgkitError):
    """A partition that was asked for does not exist, or the table cannot be read as asked."""

    kind = "partition"


class AttachError(ImgkitError):
    """A loop device could not be bound, proved or released."""

    kind = "attach"


class NotReadOnly(AttachError):
    """The kernel did not confirm that the device is read-only; it was taken down again."""

    kind = "attach.not-read-only"


class SizeMismatch(AttachError):
    """The kernel's device does not cover the extent that was asked for; it was taken down again."""

    kind = "attach.size-mismatch"


class Busy(AttachError):
    """Somebody else holds the image for writing, or still holds the device."""

    kind = "attach.busy"


class MountError(ImgkitError):
    """The kernel refused to mount or unmount, or mounted something else than was asked for."""

    kind = "mount"


class NotMountable(MountError):
    """The extent holds something that is no file system (LUKS, LVM, md, swap), or the kernel lacks its driver."""

    kind = "mount.not-mountable"


class CustodyError(ImgkitError):
    """The custody log cannot be opened, read or appended to.

    Attributes:
        code: The verifier's code where one applies (`ROLLBACK`, `FORK`, `BAD_LINE` ...), else None.
    """

    kind = "custody"

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class OutcomeSpooled(CustodyError):
    """The act is done and its outcome is durable in this host's spool, but NOT YET IN THE CASE LOG."""

    kind = "custody.spooled"


class HostError(ImgkitError):
    """This host lacks something imgkit needs (a kernel interface, a state folder)."""

    kind = "host"

"""What a reader of a container is: the signature of `open_container`, which every module that reads a format has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from imgkit.containers.evidence_file import EvidenceFile
    from imgkit.image import Image


class OpenParent(Protocol):
    """Opens the image that a differencing image builds upon."""

    def __call__(self, path: str, *, container: str | None = None) -> Image:
        """Open `path`, relative to the folder of the file that names it, as what its content says it is.

        Args:
            path: As the child states it.
            container: `raw`: its bytes are the media, whatever they look like (the child says so). Another name of
                `Image.format`: anything else is refused. None: content decides.

        Raises:
            IncompleteChain: It is absent or a device, it is one of its own descendants, or the chain is too long.
            ImageError, NotPermitted: As open_image.
        """


class Reader(Protocol):
    """`open_container` of a module that reads a format."""

    def __call__(self, file: EvidenceFile, *, sector_size: int | None, open_parent: OpenParent) -> Image:
        """Open the container that `file` is of, which the row in recognise.py recognised.

        Takes over `file` once it returns (the image closes it); the caller closes it where an error is raised.

        Args:
            file: Any file of the set.
            sector_size: Bytes, stated by the user, over what the container states.
            open_parent: For a parent or backing file; the image that uses it closes it.

        Raises:
            MissingSegment, IncompleteChain: A file that the media needs is absent, short or another set's.
            CorruptImage: The container contradicts itself.
            UnknownFormat: A variant that is recognised and not read (encrypted, an external data file).
        """

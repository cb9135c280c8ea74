"""imgkit: verify, inspect, attach and mount disk images as evidence: read-only, read back, recorded.

The public API. Names are loaded when they are first used, so `import imgkit` costs nothing.

An examination leaves its records (intent, act, outcome) in the custody log of a case:

    import imgkit

    with imgkit.Examination.open(case="cases/2026-0142", examiner="Jane Doe <jane@lab.example>") as examination:
        with examination.evidence("disk.dd") as evidence:
            answer = examination.verify(evidence)  # answer.verdict: match, mismatch, unchanged, ...
            with examination.attached(evidence, partitions=[2]) as (attached,):
                print(attached.attachment.device)  # stays attached until it is detached

The parts below it work without a case and record nothing:

    with imgkit.open_image("disk.dd") as image:
        table = imgkit.read_partition_table(image)
        with imgkit.attach(image, table.partitions[0].extent) as device:  # gone at the end of the block
            print(device.device, device.attachment.proof)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgkit.attachment import Attachment, LoopDevice, attach, attach_all, detach, list_attachments
    from imgkit.containers import open_image
    from imgkit.custody.verify import Verification, verify_log
    from imgkit.errors import ImgkitError
    from imgkit.examination import Evidence, Examination
    from imgkit.filesystems.signatures import Filesystem, identify
    from imgkit.hashing import HASH_ALGORITHMS, Digest, HashPass, hash_range
    from imgkit.image import Extent, Image, Segment
    from imgkit.mounting import Mount, mount, unmount
    from imgkit.partitions import read_partition_table
    from imgkit.partitions.table import Finding, Partition, PartitionTable
    from imgkit.references import Comparison, Reference, find_references

__version__ = "0.1.0"

_HOME = {
    "attachment": ("Attachment", "LoopDevice", "attach", "attach_all", "detach", "list_attachments"),
    "containers": ("open_image",),
    "custody.verify": ("Verification", "verify_log"),
    "errors": ("ImgkitError",),
    "examination": ("Evidence", "Examination"),
    "filesystems.signatures": ("Filesystem", "identify"),
    "hashing": ("HASH_ALGORITHMS", "Digest", "HashPass", "hash_range"),
    "image": ("Extent", "Image", "Segment"),
    "mounting": ("Mount", "mount", "unmount"),
    "partitions": ("read_partition_table",),
    "partitions.table": ("Finding", "Partition", "PartitionTable"),
    "references": ("Comparison", "Reference", "find_references"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "HASH_ALGORITHMS",
    "Attachment",
    "Comparison",
    "Digest",
    "Evidence",
    "Examination",
    "Extent",
    "Filesystem",
    "Finding",
    "HashPass",
    "Image",
    "ImgkitError",
    "LoopDevice",
    "Mount",
    "Partition",
    "PartitionTable",
    "Reference",
    "Segment",
    "Verification",
    "__version__",
    "attach",
    "attach_all",
    "detach",
    "find_references",
    "hash_range",
    "identify",
    "list_attachments",
    "mount",
    "open_image",
    "read_partition_table",
    "unmount",
    "verify_log",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'imgkit' has no attribute {name!r}")
    return getattr(import_module(f"imgkit.{module}"), name)


def __dir__() -> list[str]:
    return __all__

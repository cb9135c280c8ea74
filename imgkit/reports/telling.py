"""What an act says, beyond its title: names and values that a court reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.reports.values import as_json, items, mapping, number, text
from imgkit.reports.wording import part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imgkit.reports.acts import Act
    from imgkit.reports.values import Data

_QUIET = frozenset(
    {"files", "first_file", "files_after", "milliseconds", "at", "proof", "backing", "label", "readers"}
)
_TABLES = frozenset({"partitions", "containers", "gaps"})
_SHORT = 300  # characters of a value that has no words of its own
_OFFER = ("offer", "handover", "offered_to", "bag", "findings")
_STAMP = {
    "n": "checkpoint",
    "time": "dated",
    "name": "by",
    "tsa": "called here",
    "serial": "serial number",
    "policy": "policy",
    "trusted": "vouched for by the roots that were given",
    "sums": "SHA-256 of what was stamped",
    "file": "kept as",
    "sha256": "SHA-256 of the reply",
}
_BYTES = frozenset({"offset", "length", "size", "sector_size"})


def told(act: Act) -> list[tuple[str, str]]:
    """What an act says, beyond its title: (name, value); a digest stands under its algorithm, in full."""
    found = list(_of_type(act)) or list(_anything(act.data))
    if act.reason:
        found.append(("reason", act.reason))
    if act.authority:
        found.append(("authority", act.authority))
    if act.place:
        found.append(("place", act.place))
    if act.error:
        found.append(("error", act.error))
    return found


def _of_type(act: Act) -> Iterator[tuple[str, str]]:
    data = act.data
    if act.type in ("evidence.hashed", "evidence.verified", "evidence.compared"):
        yield from _read(act)
    elif act.type == "evidence.inspected":
        yield from _inspected(data)
    elif act.type in ("evidence.attached", "evidence.detached", "evidence.exposed", "evidence.unexposed"):
        yield from _some(data, "device", "file", "target", "offset", "length", "guard", "details", "why")
        yield from _named(data, {"compared": "compared with what it was before"})
    elif act.type in ("evidence.mounted", "evidence.unmounted"):
        yield from _some(data, "source", "target", "driver", "options", "view", "journal", "why")
    elif act.type == "evidence.added":
        yield from _some(data, "description", "copy_of", "format", "size", "source", "acquired")
    elif act.type.startswith("custody."):
        yield from _custody(data)
    elif act.type.startswith("receipt."):
        yield from _receipt(data)
    elif act.type == "log.anchored":
        yield from _named(data, _STAMP)
    elif act.type == "case.exported":
        yield from _export(data)
    elif act.type == "record.reviewed":
        yield from _review(data)
    elif act.type == "correction.added":
        yield from _some(data, "line", "field", "was", "now", "why")
    elif act.type == "log.checkpointed":
        yield from _named(data, {"n": "number"})
        yield from _up_to(data)
        signed = {"head": "head", "signer": "signed by", "fingerprint": "key", "reason": "reason"}
        yield from _named(data, signed)
        if "signature" not in data:
            yield "signed", "no"


def _custody(data: Data) -> Iterator[tuple[str, str]]:
    """Whose hands it passed through and how; what each exhibit was found to be at that moment."""
    first = (
        "from",
        "to",
        "by",
        "method",
        "place",
        "condition",
        "seals",
        "purpose",
        "authorised",
        "with_images",
    )
    yield from _some(data, *first)
    if data.get("rehashed") is False and not any("rehashed" in item for item in items(data.get("exhibits"))):
        yield "exhibits", "NOT read once more"
    for item in items(data.get("exhibits")):
        name = text(item.get("exhibit")) or f"{text(item.get('theirs'))} of the giver"
        said = _at_hand_over(item)
        if said:
            yield name, said
        of = f"{name}, the giver states" if "theirs" in item else name
        digests = mapping(item.get("digests"))
        yield from ((f"{of} {algorithm}", text(value)) for algorithm, value in sorted(digests.items()))
    yield from _offer(data)
    yield from _some(data, *(key for key in data if key not in {*first, *_OFFER, "exhibits", "rehashed"}))


def _offer(data: Data) -> Iterator[tuple[str, str]]:
    """What a hand-over and its receipt have in common, so that one is found by the other."""
    offer, bag = mapping(data.get("offer")), mapping(data.get("bag"))
    if offer:
        case = f", case {text(offer['case'])}" if text(offer.get("case")) else ""
        yield "offered in", f"log {text(offer.get('log'))}, line {text(offer.get('line'))}{case}"
        yield from _named(offer, {"head": "head of that log", "receipt": "receipt that came along"})
    yield from _named({**offer, **data}, {"handover": "id of the hand-over", "offered_to": "offered to"})
    if bag:
        size, count = number(bag.get("bytes")), number(bag.get("files"))
        known = f" ({count:,} files, {size:,} bytes)" if size is not None and count is not None else ""
        yield "bag", text(bag.get("path")) + known
        yield from _named(bag, {"manifest_sha256": "SHA-256 of its manifest"})
    yield from _named(data, {"findings": "findings of the verifier about that log"})


def _at_hand_over(item: Data) -> str:
    """Whether an exhibit was read when it changed hands, what came of it, and what its last verification had come to."""
    words = []
    if "rehashed" in item:
        words.append("read once more" if item["rehashed"] is True else "NOT read once more")
    if "verdict" in item:
        line = f" at line {text(item['line'])}" if "line" in item else ""
        words.append(f"found then{line}: {text(item['verdict'])}")
    if item.get("theirs") and item.get("exhibit"):
        words.append(f"the giver's {text(item['theirs'])}")
    checked = mapping(item.get("checked"))
    if checked:
        words.append(f"last verified at line {text(checked.get('line'))}: {text(checked.get('verdict'))}")
    return ", ".join(words)


def _read(act: Act) -> Iterator[tuple[str, str]]:
    data = act.data
    yield "of", part(text(data.get("of")))
    yield from ((name, text(value)) for name, value in sorted(mapping(data.get("digests")).items()))
    yield from _some(data, "verdict", "overall", "details", "differences", "anomalies", "notices")
    errors = items(data.get("read_errors"))
    if errors:
        yield "read errors", str(len(errors))
    compared = items(data.get("comparisons"))
    if compared:
        yield (
            "comparisons",
            f"{sum(item.get('matches') is True for item in compared)} of {len(compared)} match",
        )


def _inspected(data: Data) -> Iterator[tuple[str, str]]:
    yield from _some(data, "scheme", "sector_size")
    for key in ("partitions", "findings"):
        if isinstance(data.get(key), list):
            yield key, str(len(data[key]))
    yield from _some(data, "unreadable", "notices", "device", "target")


def _receipt(data: Data) -> Iterator[tuple[str, str]]:
    """Who got it or gave it, and exactly which lines it is of."""
    yield from _some(data, "to", "from", "by", "log")
    yield from _up_to(data)
    names = {
        "head": "head",
        "file": "SHA-256 of these lines",
        "name": "kept as",
        "text": "SHA-256 of the receipt",
    }
    yield from _named(data, names)


def _export(data: Data) -> Iterator[tuple[str, str]]:
    """What was made of which lines, and for whom."""
    yield from _some(data, "format", "recipient")
    yield from _span(data)
    size = number(data.get("bytes"))
    yield from _named(data, {"head": "head", "path": "file", "sha256": "SHA-256 of the file"})
    if size is not None:
        yield "size", f"{size:,} bytes"


def _span(data: Data) -> Iterator[tuple[str, str]]:
    """First and last line of what a record speaks of."""
    first, last = number(data.get("first")), number(data.get("last"))
    if first is not None and last is not None:
        yield "lines", f"{first:,} to {last:,}"


def _review(data: Data) -> Iterator[tuple[str, str]]:
    """Which lines, whose, and what the verifier found then."""
    yield from _span(data)
    names = {"head": "head", "of": "written by", "findings": "findings of the verifier then", "note": "note"}
    yield from _named(data, names)


def _up_to(data: Data) -> Iterator[tuple[str, str]]:
    """The lines that a checkpoint or a receipt speaks of."""
    lines, size = number(data.get("size")), number(data.get("bytes"))
    if lines is not None:
        yield "lines", f"1 to {lines:,}" + (f" ({size:,} bytes)" if size is not None else "")


def _named(data: Data, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Values under names of their own."""
    yield from ((name, text(data[key])) for key, name in names.items() if text(data.get(key)))


def _some(data: Data, *keys: str) -> Iterator[tuple[str, str]]:
    """Values under their keys; a count of bytes says that it is one."""
    for key in keys:
        value = text(data.get(key))
        if value:
            size = number(data.get(key)) if key in _BYTES else None
            yield key.replace("_", " "), f"{size:,} bytes" if size is not None else value


def _anything(data: Data) -> Iterator[tuple[str, str]]:
    """Of a type that has no words of its own: all fields but those that say what files are."""
    for key, value in data.items():
        if key in _QUIET or key in _TABLES:
            continue
        nested = isinstance(value, (dict, list))
        said = as_json(value) if nested and len(as_json(value)) > _SHORT else text(value)
        if said:
            yield key.replace("_", " "), said[:_SHORT] + "…" if nested and len(said) > _SHORT else said

"""Who acquired an E01, when and with what: the values of its header, header2 and xheader sections, as found.

https://github.com/libyal/libewf/blob/main/documentation/Expert%20Witness%20Compression%20Format%20(EWF).asciidoc,
"Header2 section", "Header section", "EWF-X"

A header says wall clocks without a zone, a header2 (and linen's header) seconds since 1970: neither is made of the other.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 256 << 10  # bytes of text in a section: with 16 sections that differ still little memory
_MOST_VALUES = 256
_MOST_CATEGORIES = 16  # of a section; no program writes more than three
_MOST_SECTIONS = 16  # that differ; no program writes more than three
_LONGEST_NAME = 40  # characters of a category's name that a problem repeats
_EPOCH = re.compile(r"-?[0-9]{1,18}", re.ASCII)

# Identifier of header and header2 -> key in the facts; m, u and p have rules of their own.
_FACTS = {
    "c": "case_number",
    "n": "evidence_number",
    "a": "description",
    "e": "examiner",
    "t": "notes",
    "md": "model",
    "sn": "serial_number",
    "l": "device_label",
    "av": "software_version",
    "ov": "os",
    "pid": "process_id",
    "ext": "extents",
    "r": "compression",
}
_XML_FACTS = {
    "case_number": "case_number",
    "evidence_number": "evidence_number",
    "description": "description",
    "examiner_name": "examiner",
    "notes": "notes",
    "model": "model",
    "serial_number": "serial_number",
    "device_label": "device_label",
    "acquiry_software": "software",
    "acquiry_software_version": "software_version",
    "acquiry_operating_system": "os",
    "process_identifier": "process_id",
    "extents": "extents",
    "compression_level": "compression",
}
_DATES = {"m": "acquired", "u": "system", "acquiry_date": "acquired", "system_date": "system"}
_PASSWORDS = {"p", "password"}
_UNSET = {("srce.lo", "-1"), ("srce.po", "-1"), ("srce.gu", "0"), ("srce.pgu", "0")}
_PREFERENCE = ("header2", "xheader", "header")  # Unicode before text in an unknown code page

_TAG = re.compile(r"<([A-Za-z_][A-Za-z0-9_.-]{0,63})>([^<]*)</\1>")
_REFERENCE = re.compile(r"&(?:#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6})|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


@dataclass(frozen=True, slots=True)
class HeaderValues:
    """What one section says.

    Attributes:
        kind: `header`, `header2` or `xheader`.
        values: Identifier -> text, empty ones too; those of the other categories as `srce.id`.
        problems: Sentences on what could not be read.
    """

    kind: str
    values: dict[str, str]
    problems: tuple[str, ...] = ()


def parse_header(kind: str, data: bytes) -> HeaderValues:
    """Read a section.

    Args:
        kind: Type of the section: `header`, `header2` or `xheader`.
        data: Its bytes as they lie in the file, compressed.
    """
    text, problem = _inflate(kind, data)
    if problem:
        return HeaderValues(kind, {}, (problem,))
    if kind == "xheader":
        return _parse_xml(text)
    return _parse_lines(kind, text)


def acquisition_facts(headers: list[tuple[str, bytes]]) -> dict[str, object]:
    """Bring together what the sections of a set say, as plain JSON values.

    Args:
        headers: (type, bytes as they lie in the file) of each, in order.

    Returns:
        Only what is stated: case_number, evidence_number, examiner, description, notes, acquired_date and system_date (as
        written), acquired_epoch and system_epoch (seconds, where a section says them), software, software_version, os,
        model, serial_number, device_label, process_id, extents, compression; `password`: whether a hash of one is there;
        `other`: {identifier: text} of what has no name here; `differences`: [{field, <section>: value …}] where sections
        disagree (the value given is that of header2, then xheader, then header); `problems`: sentences.
    """
    sections: dict[str, dict[str, object]] = {}
    problems: list[str] = []
    labelled = _labelled(headers[:_MOST_SECTIONS])
    if len(headers) > _MOST_SECTIONS:
        problems.append(f"the set has {len(headers)} header sections: the first {_MOST_SECTIONS} are read")
    for label, kind, data in labelled:
        found = parse_header(kind, data)
        problems.extend(text.replace(kind, label, 1) for text in found.problems)
        sections[label] = _named(found.values)
    facts = _merged(sections)
    if problems:
        facts["problems"] = problems
    return facts


def _labelled(headers: list[tuple[str, bytes]]) -> list[tuple[str, str, bytes]]:
    """Name each section once; a second one that says the same, which most programs write, is left out."""
    seen: list[tuple[str, bytes]] = []
    labelled = []
    for kind, data in headers:
        if (kind, data) in seen:
            continue
        count = 1 + sum(other == kind for other, _ in seen)
        seen.append((kind, data))
        labelled.append((kind if count == 1 else f"{kind} {count}", kind, data))
    return sorted(labelled, key=lambda item: _PREFERENCE.index(item[1]))


def _inflate(kind: str, data: bytes) -> tuple[bytes, str]:
    """Return (the text, what is wrong); zlib's own checksum guards the text."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, _LARGEST + 1)
    except zlib.error as error:
        return b"", f"the {kind} section cannot be inflated: {error}"
    if len(text) > _LARGEST:
        return b"", f"the {kind} section holds more than {_LARGEST} bytes of text: none of it is read"
    if not inflater.eof:
        return b"", f"the {kind} section ends before its compressed text does"
    return text, ""


def _decode(kind: str, data: bytes) -> tuple[str, tuple[str, ...]]:
    """Text of a header2 by its byte order mark; of a header, whose code page is not stated, by what the bytes allow."""
    if kind == "header2" or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        codec = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-16-le"
        problems = () if codec == "utf-16" else (f"the {kind} section has no byte order mark",)
        try:
            return data.decode(codec), problems
        except UnicodeDecodeError as error:
            reason = (f"the {kind} section is not UTF-16 throughout: {error.reason}",)
            return data.decode(codec, "backslashreplace"), (*problems, *reason)
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode(), ()
    except UnicodeDecodeError:
        problem = f"the {kind} section states no code page and is no ASCII: read as Windows-1252"
        return data.decode("cp1252", "backslashreplace"), (problem,)


def _parse_lines(kind: str, data: bytes) -> HeaderValues:
    """Categories: a name, (for all but `main` two numbers,) identifiers, (two numbers,) values; then an empty line."""
    text, problems = _decode(kind, data)
    lines = [line.removesuffix("\r") for line in text.rstrip("\x00").split("\n")]
    values: dict[str, str] = {}
    for number, category in enumerate(_categories(lines)):
        if number == _MOST_CATEGORIES:
            problems += (f"the {kind} section states more than {number} categories: the rest is not read",)
            break
        problems += _take_category(kind, category, values)
    if not values:
        problems += (f"the {kind} section states no values",)
    if len(values) >= _MOST_VALUES:
        problems += (f"the {kind} section states more than {_MOST_VALUES} values: the rest is not read",)
    return HeaderValues(kind, values, problems)


def _categories(lines: list[str]) -> Iterator[list[str]]:
    """The lines of each category, from behind the number of categories to the first that has none."""
    at = 1
    while at < len(lines) and lines[at]:
        start = at
        while at < len(lines) and lines[at]:
            at += 1
        yield lines[start:at]
        at += 1


def _take_category(kind: str, lines: list[str], values: dict[str, str]) -> tuple[str, ...]:
    """Add the values of one category; return what is wrong with it."""
    name = lines[0]
    first, prefix = (1, "") if name == "main" else (2, f"{name}.")
    second = first + (1 if name == "main" else 2)
    if len(lines) <= second:
        return (f"the {kind} section ends within the category {name[:_LONGEST_NAME]!r}",)
    names, texts = lines[first].split("\t"), lines[second].split("\t")
    for identifier, value in zip(names, texts, strict=False):
        if identifier and len(values) < _MOST_VALUES:
            values.setdefault(prefix + identifier, value)
    if name == "main" and len(names) != len(texts):
        counts = f"{len(texts)} values for {len(names)} identifiers"
        return (f"the {kind} section has {counts}: a value may stand at another's name",)
    return ()


def _parse_xml(data: bytes) -> HeaderValues:
    """Flat elements only: no parser that could be made to expand or fetch anything."""
    try:
        text, problems = data.decode("utf-8-sig"), ()
    except UnicodeDecodeError as error:
        return HeaderValues("xheader", {}, (f"the xheader section is not UTF-8: {error.reason}",))
    if "<!" in text:
        return HeaderValues("xheader", {}, ("the xheader section holds a declaration: it is not read",))
    values: dict[str, str] = {}
    for match in _TAG.finditer(text):
        if len(values) < _MOST_VALUES:
            values.setdefault(match[1], _REFERENCE.sub(_character, match[2]))
    if not values:
        return HeaderValues("xheader", {}, ("the xheader section states no values",))
    return HeaderValues("xheader", values, problems)


def _character(match: re.Match[str]) -> str:
    """The character of a reference; one that is none stays as written."""
    if match[3]:
        return _NAMED[match[3]]
    number = int(match[1]) if match[1] else int(match[2], 16)
    valid = 0 < number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF
    return chr(number) if valid else match[0]


def _named(values: dict[str, str]) -> dict[str, object]:
    """Facts by name, those that are empty left out; what has no name as `other.<identifier>`."""
    facts: dict[str, object] = {}
    for identifier, value in values.items():
        if identifier in _PASSWORDS:
            facts["password"] = value not in {"", "0"}
        elif identifier in _DATES:
            _take_date(facts, _DATES[identifier], value)
        elif value.strip() and (identifier, value) not in _UNSET:
            facts[_FACTS.get(identifier) or _XML_FACTS.get(identifier) or f"other.{identifier}"] = value
    return facts


def _take_date(facts: dict[str, object], name: str, value: str) -> None:
    """`1142163845` is an epoch, `2002 3 4 10 19 59` and `Sat Jan 20 18:32:08 2007 CET` are dates; 0 and nothing are none."""
    if _EPOCH.fullmatch(value):
        if int(value):
            facts[f"{name}_epoch"] = int(value)
    elif value.strip():
        facts[f"{name}_date"] = value


def _merged(sections: dict[str, dict[str, object]]) -> dict[str, object]:
    facts: dict[str, object] = {}
    other: dict[str, object] = {}
    differences: list[dict[str, object]] = []
    for name in dict.fromkeys(name for found in sections.values() for name in found):
        stated = {label: found[name] for label, found in sections.items() if name in found}
        value = next(iter(stated.values()))
        if name.startswith("other."):
            other[name.removeprefix("other.")] = value
        else:
            facts[name] = value
        if len({repr(item) for item in stated.values()}) > 1:
            differences.append({"field": name, **stated})
    if other:
        facts["other"] = other
    if differences:
        facts["differences"] = differences
    return facts

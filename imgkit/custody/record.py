"""One line of the custody log: its bytes, its chain hash, the values in it (docs/custody-log.md, section 3).

A list or a text that is too long for a line stands in enclosures/; the record then holds in its place
`{"count", "sha256", "enclosure"}`: entries of the list or bytes of the text, and the file's digest and name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn

from imgkit.errors import CustodyError

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_LIMIT = 65_536  # bytes of a line with its LF
DEPTH_LIMIT = 8  # the root is 1
LIST_LIMIT = 100  # longer lists go to enclosures/
INTEGER_LIMIT = 2**53 - 1  # what every JSON reader keeps exactly
ZEROS = "0" * 64  # prev of line 1

_KEY = re.compile(r"[a-z][a-z0-9_]*\Z")

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, check_circular=False
).encode


# What looking into a record raises that decodes and does not hold what its type needs: a log may come from anybody.
MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def encode(record: Mapping[str, Any]) -> bytes:
    """Return the line of a record, with its LF.

    Raises:
        CustodyError: A key or value the format does not have, nested too deep, or longer than a line may be.
    """
    _check(record, 1)
    line = _encode(record).encode("ascii") + b"\n"
    if len(line) > LINE_LIMIT:
        raise CustodyError(f"a record of {len(line)} bytes is longer than a line may be ({LINE_LIMIT})")
    return line


def encode_document(value: Any) -> bytes:
    """Return a JSON document in the encoding of a line, of any length and with its LF: enclosures, state files."""
    _check(value, 1)
    return _encode(value).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the record of a whole line.

    Raises:
        CustodyError: Code BAD_LINE: no LF, too long, no JSON object, a value the format does not have, or bytes that
            differ from the record's own encoding (duplicate keys, spacing, escapes).
    """
    if not line.endswith(b"\n") or len(line) > LINE_LIMIT:
        raise _bad_line("is cut off or too long")
    record = decode_document(line)
    if not isinstance(record, dict):
        raise _bad_line("is no object")
    return record


def decode_document(document: bytes) -> Any:
    """Return the value of a document that encode_document wrote.

    Raises:
        CustodyError: Code BAD_LINE, as decode, but for the length.
    """
    try:
        text = str(document, "ascii")
        value, _ = _scan(text)
    except (ValueError, RecursionError) as error:
        raise _bad_line(f"is not JSON as imgkit writes it ({error})") from error
    if "null" in text or ("\\" in text and "\\ud" in text) or text.count("{") + text.count("[") > DEPTH_LIMIT:
        _check_read(value)  # suspicious bytes only: most documents are proved plain by the scanner's hooks
    if _encode_as_read(value) + "\n" != text:  # the hook saw to the order of the keys
        raise _bad_line("differs from its own encoding")
    return value


def is_json(line: bytes) -> bool:
    """Whether the bytes are any JSON value at all: a torn write is not, a line made by somebody else may be."""
    try:
        json.loads(line.decode())  # from bytes it would guess UTF-16 where a torn line is filled with NUL
    except (ValueError, RecursionError):
        return False
    return True


def line_hash(line: bytes) -> str:
    """H(i): SHA-256 over the bytes of a line with its LF, lower-case hex."""
    return hashlib.sha256(line).hexdigest()


def new_uuid() -> str:
    """Return a random (version 4) UUID. The uuid module would do the same, at 6 ms for what it imports."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def path_fields(path: str | bytes | os.PathLike[str], *, key: str = "path") -> dict[str, str]:
    """Return `{"path"}` where the bytes are UTF-8 and printable, else `{"path", "path_b64"}` (the bytes rule)."""
    raw = os.fsencode(path)
    text = printable(raw)
    if text.encode() == raw:
        return {key: text}
    return {key: text, f"{key}_b64": base64.b64encode(raw).decode("ascii")}


def path_of(fields: Mapping[str, Any], *, key: str = "path") -> str:
    """Return the path that path_fields wrote, as os.fsdecode gives it."""
    if f"{key}_b64" in fields:
        return os.fsdecode(base64.b64decode(fields[f"{key}_b64"], validate=True))
    return str(fields[key])


def printable(text: str | bytes) -> str:
    r"""Return text for reading: bytes that are no UTF-8 and characters that do not print become `\x..` escapes."""
    decoded = _without_surrogates(text) if isinstance(text, str) else text.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in decoded)


def plain(value: Any) -> Any:
    """Return a value as a record holds it: keys of None left out, tuples as lists, lone surrogates escaped."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str) and not _is_unicode(value):
        return _without_surrogates(value)
    return value


def _check(value: Any, depth: int) -> None:
    """Raise unless `value` is of the format's kinds; its text may hold no lone surrogate."""
    if isinstance(value, str):
        if not _is_unicode(value):
            raise CustodyError(f"a record cannot hold text with a lone surrogate ({value!r:.100})")
    elif isinstance(value, int):
        if abs(value) > INTEGER_LIMIT:
            raise CustodyError(f"a record cannot hold the number {value}: 64-bit values are written as text")
    elif depth > DEPTH_LIMIT:
        raise CustodyError(f"a record cannot be nested deeper than {DEPTH_LIMIT}")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not _KEY.match(key):
                raise CustodyError(f"a record cannot have the key {key!r}")
            _check(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item, depth + 1)
    else:
        raise CustodyError(f"a record cannot hold {type(value).__name__} ({value!r:.100})")


def _check_read(value: Any) -> None:
    try:
        _check(value, 1)
    except CustodyError as error:
        raise _bad_line(f"does not keep to the format ({error.message})") from error


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _without_surrogates(text: str) -> str:
    return "".join(c if not "\ud800" <= c <= "\udfff" else _surrogate_escape(c) for c in text)


def _surrogate_escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"  # noqa: PLR2004  (PEP 383)


def _bad_line(what: str) -> CustodyError:
    return CustodyError(f"a line of the custody log {what}", code="BAD_LINE")


def _integer(digits: str) -> int:
    # Up to 15 digits are in range; int() is asked for no more than 17, the digits and the sign of INTEGER_LIMIT.
    if len(digits) > 15 and (len(digits) > 17 or abs(int(digits)) > INTEGER_LIMIT):  # noqa: PLR2004
        raise ValueError(f"number {digits:.40} is out of range")
    return int(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant:.40} is no integer")


def _object(members: dict[str, Any]) -> dict[str, Any]:
    keys = tuple(members)
    if keys not in _SEEN_KEYS:
        for key in keys:
            if not _KEY.match(key):
                raise ValueError(f"key {key[:40]!r} is not allowed")
        if list(keys) != sorted(keys):
            raise ValueError("the keys of an object are not in order")
        if len(_SEEN_KEYS) < _SEEN_KEYS_LIMIT and len(keys) <= _SEEN_KEYS_LENGTH:
            _SEEN_KEYS.add(keys)
    return members


# Key lists known to be well-formed and in order; bounded, for keys come from the file.
_SEEN_KEYS_LIMIT = 1024
_SEEN_KEYS_LENGTH = 32
_SEEN_KEYS: set[tuple[str, ...]] = set()
# The scanner and an encoder that keeps the order of what was read: reading a line back is what verifying a log costs.
_scan = json.JSONDecoder(
    object_hook=_object, parse_int=_integer, parse_float=_refuse, parse_constant=_refuse
).raw_decode
_encode_as_read = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=True, allow_nan=False, check_circular=False
).encode

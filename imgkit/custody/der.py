"""DER (ITU-T X.690), as far as time stamps need it: bounded, definite and shortest lengths, one-byte tags, nothing built."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, UTF8 = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C
BOOLEAN, GENERALIZED_TIME, SEQUENCE, SET = 0x01, 0x18, 0x30, 0x31
CONTEXT_0, CONTEXT_1 = 0xA0, 0xA1  # [0] and [1], constructed

_LENGTH_BYTES = 4  # a length that takes more is longer than anything we read
_CHILDREN = 1000  # of one element
_ARCS = 64  # of an object identifier
_LONG, _SHORT = 0x80, 0x7F
_TAG_NUMBER = 0x1F  # all ones: the number of the tag follows


class NotDer(ValueError):
    """The bytes are no DER of the kind that is read here."""


class Element(NamedTuple):
    """One value in its place.

    Attributes:
        data: The bytes it lies in.
        tag: Its first byte.
        start: Where its tag lies.
        body: Where its content begins.
        end: Where it ends.
    """

    data: bytes
    tag: int
    start: int
    body: int
    end: int

    @property
    def content(self) -> bytes:
        """What it holds."""
        return self.data[self.body : self.end]

    @property
    def encoded(self) -> bytes:
        """All of it, with tag and length."""
        return self.data[self.start : self.end]

    def of(self, tag: int) -> Element:
        """Itself, if it has this tag.

        Raises:
            NotDer: It has another.
        """
        if self.tag != tag:
            raise NotDer(f"{self.tag:#04x} stands where {tag:#04x} should at byte {self.start}")
        return self

    def children(self) -> list[Element]:
        """What it is made of, in order.

        Raises:
            NotDer: It is not made of elements, or of too many.
        """
        found, at = list[Element](), self.body
        while at < self.end:
            if len(found) == _CHILDREN:
                raise NotDer(f"more than {_CHILDREN} elements in one at byte {self.start}")
            found.append(_read(self.data, at, self.end))
            at = found[-1].end
        return found

    def integer(self) -> int:
        """The number it holds.

        Raises:
            NotDer: It is none, or not written in its shortest way.
        """
        content = self.of(INTEGER).content
        padded = len(content) > 1 and (content[0], content[1] >> 7) in {(0, 0), (0xFF, 1)}
        if not content or padded:
            raise NotDer(f"a number that is not in its shortest form at byte {self.start}")
        return int.from_bytes(content, "big", signed=True)

    def oid(self) -> str:
        """The object identifier it holds, with dots.

        Raises:
            NotDer: It is none.
        """
        arcs, value = list[int](), 0
        content = self.of(OID).content
        for byte in content:
            value = value << 7 | byte & _SHORT
            if not byte & _LONG:
                arcs.append(value)
                value = 0
        if not content or content[-1] & _LONG or len(content) > _ARCS:
            raise NotDer(f"no object identifier at byte {self.start}")
        first = min(arcs[0] // 40, 2)
        return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


def whole(data: bytes, tag: int = SEQUENCE) -> Element:
    """Return the one element that the bytes are, with this tag.

    Raises:
        NotDer: They are something else, or more.
    """
    element = _read(data, 0, len(data)).of(tag)
    if element.end != len(data):
        raise NotDer(f"{len(data) - element.end} bytes after the end")
    return element


def _read(data: bytes, start: int, limit: int) -> Element:
    if limit - start < 2:  # noqa: PLR2004 - a tag and a length
        raise NotDer(f"cut off at byte {start}")
    tag, length, body = data[start], data[start + 1], start + 2
    if tag & _TAG_NUMBER == _TAG_NUMBER:
        raise NotDer(f"a tag of several bytes at byte {start}")
    if length & _LONG:
        count = length & _SHORT
        body += count
        written = data[start + 2 : body]
        if not 0 < count <= _LENGTH_BYTES or body > limit:
            raise NotDer(f"a length that is not definite and bounded at byte {start}")
        length = int.from_bytes(written, "big")
        if length <= _SHORT or written[0] == 0:
            raise NotDer(f"a length that is not in its shortest form at byte {start}")
    if length > limit - body:
        raise NotDer(f"cut off: {length} bytes should follow byte {body}")
    return Element(data, tag, start, body, body + length)


def encode(tag: int, content: bytes | Sequence[bytes]) -> bytes:
    """Return an element; a sequence of encoded elements is joined."""
    inner = content if isinstance(content, bytes) else b"".join(content)
    size = len(inner)
    if size <= _SHORT:
        return bytes((tag, size)) + inner
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(length))) + length + inner


def encode_integer(value: int) -> bytes:
    """Return an INTEGER that is not negative."""
    return encode(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))

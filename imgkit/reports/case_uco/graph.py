"""The graph of a CASE/UCO export: nodes with deterministic names, typed literals, bytes in one order.

The UUID of a node is made of the log's uuid and of what the node stands for (a line, a person, bytes at a place), so that
the same log gives the same graph wherever it is exported. Facets inhere in their object: their UUID is made of its.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from imgkit.custody.record import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

Node = dict[str, Any]
Ref = dict[str, str]

ONTOLOGY = "1.5.0"
_CASE = "https://ontology.caseontology.org/case/"
_UCO = "https://ontology.unifiedcyberontology.org/uco/"
PREFIXES = {
    "kb": "http://example.org/kb/",  # a reserved name: the UUIDs are what tells one node of the world from another
    "case-investigation": f"{_CASE}investigation/",
    "uco-action": f"{_UCO}action/",
    "uco-core": f"{_UCO}core/",
    "uco-identity": f"{_UCO}identity/",
    "uco-location": f"{_UCO}location/",
    "uco-observable": f"{_UCO}observable/",
    "uco-tool": f"{_UCO}tool/",
    "uco-types": f"{_UCO}types/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
# Ours -> the vocabulary's names; a name that is not in it is valid and reported by every validator.
_METHODS = {
    name.replace("-", "_").lower(): name for name in ("MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512")
}
_METHODS |= {f"sha3_{bits}": f"SHA3-{bits}" for bits in (224, 256, 384, 512)}
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
# What an xsd:string cannot hold, and what turns the direction of the text around it.
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


class Graph:
    """Nodes by name. Adding a node again under the same name changes nothing."""

    def __init__(self, log: str, head: str) -> None:
        try:
            self._space = uuid.UUID(log)
        except ValueError:  # no line states one: the head tells such logs from each other
            self._space = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sha256:{head}")
        self._nodes: dict[str, Node] = {}

    def ref(self, kind: str, *key: object) -> Ref:
        """The name of the node of that class that stands for `key`."""
        name = uuid.uuid5(self._space, json.dumps([kind, *map(str, key)]))
        return {"@id": f"kb:{kind.partition(':')[2]}-{name}"}

    def add(self, ref: Ref, kind: str, **fields: Any) -> Ref:
        """Add a node; keys are written `core_name` for `uco-core:name`; what is empty is left out."""
        if ref["@id"] not in self._nodes:
            node: Node = {"@id": ref["@id"], "@type": kind}
            node |= {_term(key): value for key, value in fields.items() if _says(value)}
            self._nodes[ref["@id"]] = node
        return ref

    def facet(self, of: Ref, kind: str, **fields: Any) -> Ref:
        """Add a facet of an object, and return its name for `core_hasFacet`."""
        prefix, _, word = kind.partition(":")
        name = uuid.uuid5(uuid.UUID(of["@id"][-36:]), PREFIXES[prefix] + word)
        return self.add({"@id": f"kb:{word}-{name}"}, kind, **fields)

    def has(self, ref: Ref) -> bool:
        """Whether a node of that name was added."""
        return ref["@id"] in self._nodes

    def hashes(self, digests: Iterable[tuple[str, str]]) -> list[Ref]:
        """Hashes of the vocabulary's algorithms; what is no hex is left out."""
        found = []
        for algorithm, value in digests:
            method = _METHODS.get(algorithm.lower().replace("-", "_"))
            if method is None or not _HEX.match(value):
                continue
            ref = self.ref("uco-types:Hash", method, value.lower())
            typed = {"@type": "xsd:hexBinary", "@value": value.lower()}
            found.append(self.add(ref, "uco-types:Hash", types_hashMethod=method, types_hashValue=typed))
        return unique(found)

    def other_digests(self, digests: Iterable[tuple[str, str]]) -> list[Ref]:
        """Digests by algorithms that the vocabulary lacks (BLAKE3), as identifiers that others define."""
        found = []
        for algorithm, value in digests:
            if algorithm.lower().replace("-", "_") in _METHODS and _HEX.match(value):
                continue
            found.append(self.reference(f"{algorithm.upper()} digest of these bytes", value))
        return unique(found)

    def reference(self, context: str, identifier: str) -> Ref:
        """An identifier that somebody else than UCO defines."""
        kind = "uco-core:ExternalReference"
        ref = self.ref(kind, context, identifier)
        return self.add(
            ref, kind, core_definingContext=string(context), core_externalIdentifier=string(identifier)
        )

    def relation(self, source: Ref, target: Ref, word: str, *, observable: bool = True) -> Ref:
        """A directed relationship; between things that can be observed `word` is one of the vocabulary's."""
        kind = "uco-observable:ObservableRelationship" if observable else "uco-core:Relationship"
        return self.add(
            self.ref(kind, source["@id"], target["@id"], word),
            kind,
            core_source=source,
            core_target=target,
            core_kindOfRelationship=word,
            core_isDirectional=True,
        )

    def objects(self) -> list[Ref]:
        """Names of everything that is an object of its own: no facet, hash or reference, which are parts of one."""
        return [{"@id": name} for name, node in sorted(self._nodes.items()) if not _is_part(node["@type"])]

    def document(self) -> bytes:
        """The graph as JSON-LD: a node a line, nodes and keys in order, ASCII."""
        context = json.dumps(PREFIXES, sort_keys=True, indent=1)
        nodes = ",\n".join(json.dumps(self._nodes[name], sort_keys=True) for name in sorted(self._nodes))
        return f'{{"@context": {context},\n"@graph": [\n{nodes}\n]}}\n'.encode("ascii")


def _is_part(kind: str) -> bool:
    return kind.endswith("Facet") or kind in ("uco-types:Hash", "uco-core:ExternalReference")


_LONG_PREFIX = {name.rpartition("-")[2]: name for name in PREFIXES}


def _term(key: str) -> str:
    prefix, _, word = key.partition("_")
    return f"{_LONG_PREFIX[prefix]}:{word}"


def _says(value: Any) -> bool:
    return value is not None and value not in ("", [], ())


def unique(refs: Iterable[Ref]) -> list[Ref]:
    """References without repetition, in order."""
    return [{"@id": name} for name in dict.fromkeys(ref["@id"] for ref in refs)]


def string(text: str) -> str:
    """Text that an xsd:string can hold: control and bidi characters become visible escapes; line ends stay."""
    return _UNFIT.sub(lambda found: printable(found[0]), text.replace("\r\n", "\n"))


def strings(texts: Iterable[str]) -> list[str]:
    """The same of several, without empty ones and repetitions."""
    return list(dict.fromkeys(string(text) for text in texts if text))


def time(utc: str) -> Ref | None:
    """A typed time; None where it is none: the format of a log lets a 13th month through."""
    try:
        datetime.fromisoformat(utc)
    except ValueError:
        return None
    return {"@type": "xsd:dateTime", "@value": utc}


def integer(value: int | None) -> Ref | None:
    """A typed integer, as text: readers with doubles would round it."""
    return None if value is None else {"@type": "xsd:integer", "@value": str(value)}

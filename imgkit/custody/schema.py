"""Which records there are, and what each must hold (docs/custody-log.md, sections 4 to 7): the table, and the look at one record.

Chain, line number and the joining of intents and outcomes are the verifier's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = 1

_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")
_ZONE = re.compile(r"[+-]\d\d:\d\d\Z")

INTENT, OUTCOME, EVENT = "intent", "outcome", "event"
_ACT = frozenset({INTENT, OUTCOME})
_FACT = frozenset({EVENT})
_ACTS = (
    "added",
    "hashed",
    "verified",
    "inspected",
    "exposed",
    "unexposed",
    "compared",
    "attached",
    "detached",
)

# type -> the phases it comes in
TYPES: dict[str, frozenset[str]] = (
    {"log.opened": _FACT, "case.opened": _FACT}
    | {f"evidence.{act}": _ACT for act in (*_ACTS, "mounted", "unmounted")}
    | {f"custody.{step}": _FACT for step in ("transferred", "received", "stored", "disposed")}
    | {f"evidence.{what}": _FACT for what in ("gone", "changed", "touched")}
    | dict.fromkeys(("note.added", "enclosure.added", "correction.added", "record.reviewed"), _FACT)
    | dict.fromkeys(("tool.selftest", "tool.changed", "receipt.given", "receipt.taken"), _FACT)
    | dict.fromkeys(("log.checkpointed", "log.anchored", "log.recovered", "log.rollback_accepted"), _FACT)
    | dict.fromkeys(("op.reconciled", "case.exported", "case.sealed", "case.reopened"), _FACT)
)
OPENING_TYPES = frozenset({"log.opened", "case.opened"})  # line 1, and nowhere else
RESULTS = frozenset({"ok", "failed", "interrupted", "unknown"})

# (type, phase) -> the keys that `data` must have and their kinds; an outcome's are required where its result is ok.
_REQUIRED: dict[tuple[str, str], dict[str, str]] = {
    ("evidence.hashed", OUTCOME): {"digests": "digests"},
    ("evidence.verified", OUTCOME): {"digests": "digests", "comparisons": "list"},
    ("evidence.inspected", OUTCOME): {"scheme": "str", "partitions": "list", "findings": "list"},
    ("evidence.attached", OUTCOME): {"device": "str", "diskseq": "int", "offset": "int", "length": "int"},
    ("evidence.detached", OUTCOME): {"device": "str"},
    ("evidence.mounted", OUTCOME): {"source": "str", "target": "str"},
    ("evidence.unmounted", OUTCOME): {"target": "str"},
    ("note.added", EVENT): {"sha256": "hex64"},
    ("enclosure.added", EVENT): {"sha256": "hex64"},
    ("correction.added", EVENT): {"line": "int", "field": "str", "why": "str"},
    ("log.checkpointed", EVENT): {"size": "int", "bytes": "int", "head": "hex64"},
    ("log.recovered", EVENT): {"last_good": "int", "torn": "list"},
    ("log.rollback_accepted", EVENT): {"remembered": "object", "found": "object"},
    ("op.reconciled", EVENT): {"op": "uuid", "line": "int", "result": "str", "seen": "object"},
}


def is_newer(record: Mapping[str, Any]) -> bool:
    """Whether a newer imgkit wrote this record: a greater version, or a type that this one does not know."""
    version, kind = record.get("v"), record.get("type")
    return (type(version) is int and version > VERSION) or (isinstance(kind, str) and kind not in TYPES)


def validate(record: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a decoded record's fields, one sentence each; empty where nothing is.

    Looks at one record alone: chain, line number and the joining of intents and outcomes are the verifier's.
    """
    if _is_sound(record):
        return []
    wrong = _missing(record, _COMMON_KINDS, "")
    if wrong:
        return wrong
    wrong += _missing(record["time"], _TIME_KINDS, "time.") + _missing(
        record["actor"], _ACTOR_KINDS, "actor."
    )
    wrong += _wrong_kinds(record, _OPTIONAL_KINDS)
    return wrong + _wrong_phase(record) + _wrong_data(record)


# log prev session utc tz boot_id sync, in one match: a verifier asks this of every line
_COMMON = re.compile(
    rf"(?:{_UUID.pattern[:-2]}) (?:{_HEX64.pattern[:-2]}) (?:{_UUID.pattern[:-2]}) "
    rf"(?:{_UTC.pattern[:-2]}) (?:{_ZONE.pattern[:-2]}) [^ ]+ (?:ok|unsync) (?:{_UUID.pattern[:-2]}|)\Z"
)
_PLAIN_KEYS = frozenset(
    {
        "v",
        "log",
        "seq",
        "prev",
        "type",
        "phase",
        "op",
        "time",
        "session",
        "actor",
        "data",
        "result",
        "exhibit",
    }
)


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether a record of the common fields alone keeps to the schema; False sends it to the slow look."""
    if not record.keys() <= _PLAIN_KEYS:
        return False
    try:
        kind, phase, actor, data = record["type"], record["phase"], record["actor"], record["data"]
        time, op, result = record["time"], record.get("op", ""), record.get("result")
        texts = f"{record['log']} {record['prev']} {record['session']} {time['utc']} {time['tz']} {time['boot_id']}"
        numbers = {type(record["v"]), type(record["seq"]), type(time["boot_us"])} == {int}
        names = type(actor["name"]) is type(actor["id"]) is type(time["boot_id"]) is str
        fits = (phase == OUTCOME) == (result is not None) and (phase == EVENT) == (op == "")
        return (
            numbers
            and names
            and fits
            and actor["name"] != "" != actor["id"]
            and type(record.get("exhibit", "")) is str
            and record["seq"] > 1
            and time["boot_us"] >= 0
            and phase in TYPES[kind]
            and kind not in OPENING_TYPES
            and (result is None or result in RESULTS)
            and type(data) is dict
            and ((result is not None and result != "ok") or not _required(data, kind, phase))
            and _COMMON.match(f"{texts} {time['sync']} {op}") is not None
        )
    except (KeyError, TypeError):
        return False


def _required(data: Mapping[str, Any], kind: str, phase: str) -> list[str]:
    kinds = _REQUIRED.get((kind, phase))
    return _missing(data, kinds, "data.") if kinds else []


def _wrong_phase(record: Mapping[str, Any]) -> list[str]:
    phases, phase = TYPES.get(record["type"]), record["phase"]
    wrong = []
    if phases is None or phase not in phases:
        wrong.append(f"{record['type']} does not come as {phase}")
    if (record["type"] in OPENING_TYPES) != (record["seq"] == 1):
        wrong.append(
            f"{record['type']} at line {record['seq']}: line 1 opens the log, and no other line does"
        )
    if phase in _ACT:
        wrong += _missing(record, {"op": "uuid"}, "")
    if phase == OUTCOME and record.get("result") not in RESULTS:
        wrong.append("result is missing or not one of ok, failed, interrupted, unknown")
    if phase != OUTCOME and "result" in record:
        wrong.append(f"result has no place in an {phase}")
    if phase == OUTCOME and record.get("result") == "ok" and "error" in record:
        wrong.append("an outcome that is ok has no error")
    return wrong


def _wrong_data(record: Mapping[str, Any]) -> list[str]:
    data = record["data"]
    wrong = []
    if record["phase"] != OUTCOME or record.get("result") == "ok":
        wrong += _required(data, record["type"], record["phase"])
    if "late" in record:
        wrong += _missing(data, {"at": "object"}, "data.") or _missing(data["at"], _TIME_KINDS, "data.at.")
    return wrong


def _missing(fields: Mapping[str, Any], kinds: Mapping[str, str], where: str) -> list[str]:
    wrong = []
    for key, kind in kinds.items():
        if key not in fields:
            wrong.append(f"{where}{key} is missing")
        elif not _KINDS[kind](fields[key]):
            wrong.append(f"{where}{key} is not of kind {kind}")
    return wrong


def _wrong_kinds(fields: Mapping[str, Any], kinds: Mapping[str, str]) -> list[str]:
    return [
        f"{key} is not of kind {kind}"
        for key, kind in kinds.items()
        if key in fields and not _KINDS[kind](fields[key])
    ]


def _shaped(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    match = pattern.match
    return lambda value: isinstance(value, str) and match(value) is not None


def _one_of(*shapes: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, shapes)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "uuid": _shaped(_UUID),
    "hex64": _shaped(_HEX64),
    "utc": _shaped(_UTC),
    "zone": _shaped(_ZONE),
    "sync": lambda value: value in ("ok", "unsync"),
    "text": lambda value: isinstance(value, str) and value != "",
    "int": lambda value: type(value) is int and value >= 0,
    "true": lambda value: value is True,
    "object": _one_of(dict),
    "str": _one_of(str),
    "list": _one_of(list, dict),  # a long list or text may be the dict that names its enclosure
    "long": _one_of(str, dict),
    "digests": _one_of(list, dict),
}
_COMMON_KINDS = {"v": "int", "log": "uuid", "seq": "int", "prev": "hex64", "type": "str", "phase": "str"}
_COMMON_KINDS |= {"time": "object", "session": "uuid", "actor": "object", "data": "object"}
_TIME_KINDS = {"utc": "utc", "tz": "zone", "boot_us": "int", "boot_id": "text", "sync": "sync"}
_ACTOR_KINDS = {"name": "text", "id": "text"}
_OPTIONAL_KINDS = {"env": "object", "exhibit": "str", "reason": "long", "error": "object"}
_OPTIONAL_KINDS |= {"authority": "long", "place": "long", "late": "true"}

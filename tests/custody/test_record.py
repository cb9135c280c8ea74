"""The format of one line: what it holds, what it refuses, and that reading accepts exactly what writing makes."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imgkit.custody import schema
from imgkit.custody.record import (
    DEPTH_LIMIT,
    INTEGER_LIMIT,
    LINE_LIMIT,
    ZEROS,
    decode,
    encode,
    is_json,
    line_hash,
    path_fields,
    path_of,
    plain,
)
from imgkit.custody.schema import TYPES, is_newer, validate
from imgkit.errors import CustodyError

UUID = "6f1ed002-ab55-4d4c-9d4e-0a4c9d4e0a4c"
TIME = {"utc": "2026-05-01T12:34:56.123456Z", "tz": "+02:00", "boot_us": 7, "boot_id": UUID, "sync": "ok"}
SOUND: dict[str, Any] = {
    "v": 1, "log": UUID, "seq": 57, "prev": ZEROS, "type": "evidence.attached", "phase": "outcome", "op": UUID,
    "time": TIME, "session": UUID, "actor": {"name": "Jane Doe", "id": "jane@lab.example"}, "result": "ok",
    "data": {"device": "/dev/loop3", "diskseq": 12, "offset": 1048576, "length": 512},
}  # fmt: skip

keys = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
values = st.recursive(
    st.booleans() | st.integers(-INTEGER_LIMIT, INTEGER_LIMIT) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(st.dictionaries(keys, values, max_size=5).filter(lambda value: depth(value) <= DEPTH_LIMIT))
def test_what_is_written_is_read(record: dict[str, Any]) -> None:
    line = encode(record)
    assert decode(line) == record
    assert line == json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])
    assert line[-1:] == b"\n"


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=300)
def test_a_changed_byte_is_refused_or_is_another_line(place: int, change: int) -> None:
    line = encode(SOUND)
    place %= len(line)
    changed = line[:place] + bytes([line[place] ^ change]) + line[place + 1 :]
    assert line_hash(changed) != line_hash(line)
    assert reading_of(changed) in (None, changed)


def reading_of(line: bytes) -> bytes | None:
    """The line as written anew from what was read; None where it was refused."""
    try:
        record = decode(line)
    except CustodyError:
        return None
    return encode(record)


@given(st.binary(max_size=60))
def test_random_bytes_are_refused_in_order(data: bytes) -> None:
    assume(data != b"}")  # the empty record is one, as far as its encoding goes
    with pytest.raises(CustodyError):
        decode(b"{" + data + b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":1,"a":2}\n',
        b'{"a": 1}\n',
        b'{"b":1,"a":2}\n',
        b'{"a":1}',
        b'{"a":1}\n\n',
        b'{"a":1}\r\n',
        b' {"a":1}\n',
        b'{"a":1} \n',
        b'{"a":null}\n',
        b'{"a":[null]}\n',
        b'{"a":1.0}\n',
        b'{"a":1e3}\n',
        b'{"a":-0}\n',
        b'{"a":NaN}\n',
        b'{"a":Infinity}\n',
        b'{"a":9007199254740992}\n',
        b'{"a":' + b"9" * 5000 + b"}\n",
        b'{"A":1}\n',
        b'{"":1}\n',
        b'{"a-b":1}\n',
        b'{"1":1}\n',
        b'{"a":"\\ud800"}\n',
        b'{"a":"\\u0041"}\n',
        b'{"a":"\\/"}\n',
        b'{"a":"\xc3\xbc"}\n',
        b'{"a":"\x00"}\n',
        b'{"a":"\x7f"}\n',
        b"[]\n",
        b'"text"\n',
        b"\n",
        b"",
        b"\x00\x00\x00\n",
        b'{"a":' * 8 + b"{}" + b"}" * 8 + b"\n",
        b"[" * 60_000 + b"\n",
        b'{"a":' * 12_000 + b"\n",
        b'{"a":"' + b"x" * LINE_LIMIT + b'"}\n',
    ],
)
def test_refused_lines(line: bytes) -> None:
    with pytest.raises(CustodyError) as caught:
        decode(line)
    assert caught.value.code == "BAD_LINE"


def test_bounds_are_exact() -> None:
    deepest: Any = {}
    for _ in range(DEPTH_LIMIT - 1):
        deepest = {"a": deepest}
    longest = {"a": "x" * (LINE_LIMIT - len(b'{"a":""}\n'))}
    largest = {"a": INTEGER_LIMIT, "b": -INTEGER_LIMIT}
    for record in (deepest, longest, largest):
        assert decode(encode(record)) == record
    assert len(encode(longest)) == LINE_LIMIT
    for record in (
        {"a": deepest},
        {"a": longest["a"] + "x"},
        {"a": INTEGER_LIMIT + 1},
        {"a": -INTEGER_LIMIT - 1},
    ):
        with pytest.raises(CustodyError):
            encode(record)


@pytest.mark.parametrize(
    "value", [None, 1.5, float("nan"), b"bytes", "\ud800", {"A": 1}, {1: 2}, {"a": None}, {1, 2}]
)
def test_values_that_no_record_holds(value: object) -> None:
    with pytest.raises(CustodyError):
        encode({"a": value})


def test_a_torn_line_is_no_json_and_a_foreign_one_is() -> None:
    line = encode(SOUND)
    assert not any(is_json(line[:cut]) for cut in range(len(line) - 1))
    assert not any(is_json(line[:cut] + bytes(len(line) - cut)) for cut in range(len(line)))
    assert not is_json(b"7\0")  # from bytes, json.loads would read UTF-16 here
    assert is_json(line)
    assert is_json(b'{"a": 1}\n')


@given(st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw))
def test_paths_keep_their_bytes(raw: bytes) -> None:
    fields = path_fields(raw)
    assert os.fsencode(path_of(fields)) == raw
    assert fields["path"].isprintable()
    assert decode(encode(fields)) == fields


def test_a_readable_path_stands_alone() -> None:
    assert path_fields("/evidence/Köln 1.dd") == {"path": "/evidence/Köln 1.dd"}
    assert path_fields(b"/a\xff", key="target") == {"target": "/a\\xff", "target_b64": "L2H/"}
    assert path_fields("/a\n")["path"] == "/a\\n"
    assert "path_b64" in path_fields("/a\u202eb")


def test_plain_makes_values_fit() -> None:
    assert plain({"a": None, "b": (1, 2), "c": "\udcff", "d": "\ud800", "e": [{"f": None}]}) == {
        "b": [1, 2], "c": "\\xff", "d": "\\ud800", "e": [{}],
    }  # fmt: skip


def test_a_sound_record_has_nothing_wrong() -> None:
    assert validate(SOUND) == []
    assert validate(SOUND | {"exhibit": "EX1", "reason": "why", "color": "unknown keys are kept"}) == []


MISTAKES: list[dict[str, Any]] = [
    {"v": "1"}, {"log": "x"}, {"seq": -1}, {"seq": True}, {"prev": "0"}, {"phase": "event"}, {"phase": "intent"},
    {"phase": []}, {"type": 7}, {"type": "log.opened"}, {"seq": 1}, {"op": "x"}, {"op": 3}, {"result": "good"},
    {"result": None}, {"session": UUID.upper()}, {"actor": {"name": "", "id": "x"}}, {"actor": {"name": "x"}},
    {"actor": []}, {"time": {}}, {"time": TIME | {"utc": "2026-05-01T12:34:56Z"}}, {"time": TIME | {"tz": "CET"}},
    {"time": TIME | {"sync": "yes"}}, {"time": TIME | {"boot_us": -1}}, {"time": TIME | {"boot_us": "1"}}, {"data": []},
    {"data": {}}, {"data": SOUND["data"] | {"diskseq": "12"}}, {"late": True}, {"late": 1}, {"error": {"text": "x"}},
    {"reason": 3}, {"env": []}, {"exhibit": 1},
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=repr)
def test_mistakes_are_named(mistake: dict[str, Any]) -> None:
    assert validate(SOUND | mistake)


@pytest.mark.parametrize("key", sorted(SOUND))
def test_missing_fields_are_named(key: str) -> None:
    assert validate({name: value for name, value in SOUND.items() if name != key})


@given(
    st.dictionaries(
        st.sampled_from(sorted(SOUND)), values | st.sampled_from(["intent", "event", "ok", UUID]), max_size=3
    )
)
def test_the_quick_look_accepts_nothing_the_slow_one_refuses(changes: dict[str, Any]) -> None:
    record = SOUND | changes
    if schema._is_sound(record):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "_is_sound", lambda _record: False)
            assert validate(record) == []


def test_a_failed_act_needs_no_facts() -> None:
    assert (
        validate(SOUND | {"result": "failed", "data": {}, "error": {"class": "Busy", "text": "held"}}) == []
    )


def test_types_are_those_of_the_specification() -> None:
    acts = {kind for kind, phases in TYPES.items() if phases == {"intent", "outcome"}}
    assert acts == {f"evidence.{act}" for act in (
        "added", "hashed", "verified", "inspected", "exposed", "unexposed", "compared", "attached", "detached", "mounted",
        "unmounted",
    )}  # fmt: skip
    assert all(phases == {"event"} for kind, phases in TYPES.items() if kind not in acts)
    events = """log.opened case.opened custody.transferred custody.received custody.stored custody.disposed evidence.gone
        evidence.changed evidence.touched note.added enclosure.added correction.added record.reviewed tool.selftest
        tool.changed log.checkpointed log.anchored log.recovered receipt.given receipt.taken op.reconciled
        log.rollback_accepted case.exported case.sealed case.reopened"""
    assert set(TYPES) == acts | set(events.split())


def test_newer_records_are_recognised() -> None:
    assert not is_newer(SOUND)
    assert is_newer(SOUND | {"v": 2})
    assert is_newer(SOUND | {"type": "evidence.dreamt"})

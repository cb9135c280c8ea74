"""Digests, comparisons, verdicts and read errors that acts state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.reports.exhibits import Comparison, OwnDigest, ReadError, StatedDigest, Verdict
from imgkit.reports.values import is_reference, items, mapping, number, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from imgkit.reports.acts import Act
    from imgkit.reports.values import Data

_ORIGINS = {"own": "computed earlier", "acquisition": "stated by others"}
_KINDS = {"option": "a digest given with the command", "against": "file named for comparison"}
READS = frozenset({"evidence.hashed", "evidence.verified", "evidence.compared"})

_STORED = {
    "stored_digests": "stored in the container",
    "disputed_digests": "stored in the container a second time, and different",
}


def stated_in(act: Act) -> Iterator[StatedDigest]:
    """Digests that people stated when an exhibit was added, and those that its container states."""
    for item in items(act.data.get("stated")):
        algorithm, colon, value = text(item.get("digest")).partition(":")
        if colon:
            yield StatedDigest(algorithm, value, text(item.get("source")), act.line)
    for key, where in _STORED.items():
        for algorithm, value in sorted(mapping(act.data.get(key)).items()):
            yield StatedDigest(algorithm, text(value), where, act.line)


def own_in(act: Act) -> Iterator[OwnDigest]:
    """Digests of ours that an act states."""
    data = act.data
    sound = act.result == "ok" and not data.get("changed") and not data.get("read_errors")
    for algorithm, value in sorted(mapping(data.get("digests")).items()):
        yield OwnDigest(
            of=text(data.get("of")),
            offset=number(data.get("offset")),
            length=number(data.get("length")),
            algorithm=algorithm,
            value=text(value),
            line=act.fact_line,
            act=act,
            sound=sound,
        )


def comparisons_in(act: Act, ours: AbstractSet[tuple[int, str, str]]) -> Iterator[Comparison]:
    """What an act held against what others state; `ours` has line, algorithm and value of what this log states."""
    for item in items(act.data.get("comparisons")):
        yield Comparison(
            of=text(act.data.get("of")),
            algorithm=text(item.get("algorithm")),
            expected=text(item.get("expected")),
            actual=text(item.get("actual")),
            matches=item.get("matches") is True,
            source=_source(item, ours),
            line=act.fact_line,
            act=act,
            protection=text(mapping(item.get("source")).get("protection")),
        )


def _source(item: Data, ours: AbstractSet[tuple[int, str, str]]) -> str:
    """`container laptop.E01`, `this log, line 2 (stated by others)`, which is said only where that line says so."""
    source = mapping(item.get("source"))
    kind, line = text(source.get("kind")), number(source.get("line"))
    origin = text(source.get("origin"))
    origin = _ORIGINS.get(origin, origin)
    if kind == "custody" and (line, text(item.get("algorithm")), text(item.get("expected"))) in ours:
        return f"this log, line {line}" + (f" ({origin})" if origin else "")
    path = text(source.get("path"))
    words = ["custody log" if kind == "custody" else _KINDS.get(kind, kind) or "unknown"] + (
        [path] if path else []
    )
    words += [f"line {line}"] if line is not None else []
    return " ".join(words) + (f" ({origin})" if origin and origin != kind else "")


def verdicts_in(act: Act) -> Iterator[Verdict]:
    """What a verification of a part came to."""
    verdict = text(act.data.get("verdict"))
    if verdict and act.ended_line is not None:
        yield Verdict(text(act.data.get("of")), verdict, text(act.data.get("overall")), act.fact_line, act)


def read_errors_in(act: Act) -> Iterator[ReadError]:
    """What could not be read."""
    for item in items(act.data.get("read_errors")):
        yield ReadError(
            exhibit=act.exhibit,
            of=text(act.data.get("of")),
            offset=number(item.get("offset")) or 0,
            length=number(item.get("length")) or 0,
            reason=text(item.get("reason")),
            line=act.fact_line,
        )


def unlisted_in(act: Act) -> Iterator[tuple[int, int]]:
    """The line that says how many ranges could not be read, where their list cannot be shown, and how many."""
    errors = act.data.get("read_errors")
    if isinstance(errors, dict) and is_reference(errors):
        yield act.fact_line, number(errors["count"]) or 0

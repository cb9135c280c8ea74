"""Exhibits: what each is, what its digests are and match, how it is divided, where it was visible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.reports.html.division import division
from imgkit.reports.html.markup import Markup, digest, el, facts, join, said, section, table, text
from imgkit.reports.html.pieces import corrections, line_link, notes, verdict_mark, when
from imgkit.reports.wording import UNSHOWN, compared, guard, human, part, proof

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgkit.reports.exhibits import Exhibit, File, OwnDigest
    from imgkit.reports.presences import Attachment
    from imgkit.reports.view import Act, CaseView, Verdict

FILES_SHOWN = 12
LINES_SHOWN = 3


def overview(case: CaseView) -> Markup:
    """All exhibits, one a row."""
    rows = (
        (
            el("a", said(item.name), href=f"#x{at}"),
            join((said(item.description or _first_path(item)), _corrected(item))),
            _image(item),
            _last(item.verdict),
            _unread(item),
        )
        for at, item in enumerate(case.exhibits, start=1)
    )
    headers = ("Exhibit", "Description", "Image", "Last verification", "Read errors")
    return table("Exhibits of the case", headers, rows)


def alarms(case: CaseView) -> Markup:
    """What is wrong with the evidence itself, however sound the log is."""
    wrong = []
    for item in case.exhibits:
        for last in item.faults:
            of = "" if last.overall or last.of == "media" else f", {part(last.of)}"
            verdict = verdict_mark(last.overall or last.verdict)
            wrong.append(el("li", said(item.name), f"{of}: last found ", verdict, ", ", line_link(last.line)))
        changed = [act for act in item.changes if act.type == "evidence.changed"]
        if changed:
            wrong.append(el("li", said(item.name), ": found changed, ", line_link(changed[-1].line)))
    if not wrong:
        return Markup("")
    words = "Evidence is not as it was stated, or could not be read."
    return el("div", el("p", words, cls="big"), el("ul", *wrong), cls="banner bad")


def _unread(item: Exhibit) -> str:
    """How many ranges could not be read, however often somebody tried."""
    found, unlisted = len(item.unread), max((count for _, count in item.unlisted), default=0)
    if unlisted > found:
        return f"{unlisted:,} ranges, not all of them shown"
    return f"{found:,} {'range' if found == 1 else 'ranges'}" if found else "none recorded"


def _image(item: Exhibit) -> Markup:
    return join((said(item.format or "format not recorded"), f", {human(item.size)}"))


def _first_path(item: Exhibit) -> str:
    return item.files[0].path if item.files else ""


def _corrected(item: Exhibit) -> Markup:
    """What the description should say, where somebody said so later."""
    later = [one for one in item.corrections if one.field == "data.description"]
    if not later:
        return Markup("")
    return join(
        (Markup("<br>"), el("small", "should say “", said(later[-1].now), "”, "), line_link(later[-1].line))
    )


def _last(verdict: Verdict | None) -> Markup:
    if verdict is None:
        return el("b", "never verified", cls="v warn")
    return join((verdict_mark(verdict.overall or verdict.verdict), " ", line_link(verdict.line)))


def exhibit(item: Exhibit, number: int) -> Markup:
    """The section of one exhibit."""
    anchor = f"x{number}"
    return el(
        "section",
        el("h3", said(item.name), Markup(" "), el("small", said(item.description))),
        corrections(item.corrections),
        _identity(item),
        _acquisition(item),
        _digests(item),
        _comparisons(item),
        division(item, anchor),
        _read_errors(item),
        _changes(item),
        _visible(item),
        _notes(item),
        id=anchor,
        cls="exhibit",
    )


def _identity(item: Exhibit) -> Markup:
    rows = [
        ("Image", _image(item)),
        ("Working copy of", said(item.copy_of)),
        *((f"Source: {name}", said(value)) for name, value in item.source),
        *((f"Acquired: {name}", said(value)) for name, value in item.acquired),
        (
            "Added",
            join(
                (
                    when(item.added.when),
                    " by ",
                    said(str(item.added.actor)),
                    " ",
                    line_link(item.line),
                )
            ),
        ),
        ("Last verification", _last(item.verdict)),
    ]
    return join((facts(rows), _files(item)))


def _acquisition(item: Exhibit) -> Markup:
    found = item.acquisition
    if found is None:
        return Markup("")
    words = el(
        "p", "Its own words, as they were found: none of them was checked. ", line_link(found.line), cls="q"
    )
    said_of_it = facts((said(name), said(value)) for name, value in found.facts)
    return section("What the container says of its acquisition", "", words, said_of_it, level=4)


def _files(item: Exhibit) -> Markup:
    """The files; of a long set the first and the last."""
    shown = item.files
    if len(shown) > FILES_SHOWN:
        shown = (*shown[: FILES_SHOWN - 2], *shown[-2:])
    missing = item.files_count - len(shown)
    rows = [
        (said(_path(one)), one.role, f"{one.bytes:,}" if one.bytes is not None else "missing")
        for one in shown
    ]
    found = table("Files when it was added", ("Path", "Role", "Bytes"), rows, right=(2,))
    more = (
        el("p", f"{missing:,} more files are listed in the record of line {item.line}.", cls="q")
        if missing > 0
        else ""
    )
    return join((found, Markup(more)))


def _path(one: File) -> str:
    return f"{one.path} ({one.device})" if one.device else one.path


def _digests(item: Exhibit) -> Markup:
    """What is stated, and what was computed: the first of each kind and how often it came out again."""
    stated = [
        (one.algorithm, digest(one.value), said(one.source), line_link(one.line)) for one in item.stated
    ]
    return section(
        "Digests",
        "",
        table("Stated by others", ("Algorithm", "Digest", "By", "Record"), stated),
        table("Computed", ("Of", "Algorithm", "Digest", "When, by", "With", "Record"), _own(item)),
        level=4,
    )


def _own(item: Exhibit) -> Iterator[tuple[str, ...]]:
    again: dict[tuple[str, ...], list[int]] = {}
    first: dict[tuple[str, ...], OwnDigest] = {}
    for one in item.own:
        key: tuple[str, ...] = (
            one.of,
            str(one.offset),
            str(one.length),
            one.algorithm,
            one.value,
            str(one.sound),
        )
        first.setdefault(key, one)
        again.setdefault(key, []).append(one.line)
    for key, earliest in first.items():
        yield _own_row(earliest, again[key])


def _own_row(one: OwnDigest, lines: list[int]) -> tuple[str, ...]:
    where = "" if one.offset is None or one.of == "media" else f", {one.length:,} bytes at {one.offset:,}"
    doubt = [] if one.sound else [Markup("<br>"), el("b", "not of one sound state", cls="v bad")]
    more = [Markup("<br>"), _again(len(lines) - 1), line_link(lines[-1])] if lines[1:] else []
    return (
        join((said(part(one.of) + where), *doubt)),
        one.algorithm,
        digest(one.value),
        join((when(one.act.when), Markup("<br>"), said(one.act.actor.name))),
        said(one.act.session.tool),
        join((line_link(one.line), *more)),
    )


def _again(times: int) -> str:
    return "and once again at " if times == 1 else f"and {times:,} times again, last at "


def _comparisons(item: Exhibit) -> Markup:
    """The newest comparison with each statement, and all that did not match."""
    newest = {(one.of, one.algorithm, one.expected, one.source, one.matches): one for one in item.comparisons}
    rows = [
        (
            said(part(one.of)),
            one.algorithm,
            verdict_mark("match" if one.matches else "mismatch"),
            join([digest(one.expected)] if one.matches else _differing(one.expected, one.actual)),
            said(one.source),
            line_link(one.line),
        )
        for one in newest.values()
    ]
    headers = ("Of", "Algorithm", "Result", "Stated digest", "Stated by", "Record")
    return section("Comparisons", "", table("Computed digests against stated ones", headers, rows), level=4)


def _differing(expected: str, actual: str) -> Iterator[Markup]:
    yield from (el("div", "stated ", digest(expected)), el("div", "computed ", digest(actual)))


# -- what happened to it ---------------------------------------------------------------------------


def _read_errors(item: Exhibit) -> Markup:
    rows = (
        (said(part(one.of)), f"{one.offset:,}", f"{one.length:,}", said(one.reason), _each(one.lines))
        for one in item.unread
    )
    headers = ("Of", "Offset", "Length", "Reason", "Record")
    found = table("Ranges that could not be read, in bytes", headers, rows, right=(1, 2))
    hidden = (
        el("p", el("b", f"The list of {count:,} ranges {UNSHOWN}: ", cls="s bad"), line_link(line), ".")
        for line, count in item.unlisted
    )
    return section("Read errors", "", found, *hidden, level=4)


def _each(lines: Sequence[int]) -> Markup:
    """Every line that says so, but of many the first and the last."""
    if len(lines) <= LINES_SHOWN:
        return join(word for at, line in enumerate(lines) for word in (", " if at else "", line_link(line)))
    return join(
        (line_link(lines[0]), f", and {len(lines) - 1:,} times again, last at ", line_link(lines[-1]))
    )


def _changes(item: Exhibit) -> Markup:
    rows = (
        (
            el("b", "CHANGED", cls="v bad")
            if act.type.endswith("changed")
            else el("b", "time stamps", cls="v warn"),
            _details(act),
            when(act.when),
            line_link(act.line),
        )
        for act in item.changes
    )
    return section(
        "Changes of the evidence",
        "",
        table("Found changed", ("What", "Details", "When", "Record"), rows),
        level=4,
    )


def _details(act: Act) -> Markup:
    details = act.data.get("details")
    return said("; ".join(str(one) for one in details) if isinstance(details, list) else str(details or ""))


def _visible(item: Exhibit) -> Markup:
    return section("Where it was visible", "", *(_presence(one) for one in item.attachments), level=4)


def _presence(one: Attachment) -> Markup:
    where = "" if one.offset is None or one.length is None else f"{one.length:,} bytes at {one.offset:,} as "
    rows = [
        (
            "From",
            join(
                (
                    when(one.begun.when),
                    " ",
                    line_link(one.line),
                    ", by ",
                    said(str(one.begun.actor)),
                    *_came(one),
                )
            ),
        ),
        ("Until", _ended(one)),
        ("Mounted at", _mounts(one)),
        ("Read back", said(proof(one))),
        ("Guard", said(guard(one))),
    ]
    device = said(one.device) or text("a device" if one.kind == "device" else "a file")
    return el("div", el("p", el("b", where, device)), facts(rows), cls="presence")


def _came(one: Attachment) -> Iterator[Markup]:
    """Where no outcome says that it came about."""
    if one.begun.result != "ok":
        words = {"open": "no outcome recorded"}.get(one.begun.result, one.begun.result)
        yield join((Markup("<br>"), el("b", f"begun; {words}", cls="v warn")))


def _ended(one: Attachment) -> Markup:
    if one.ended is None and one.begun.result != "ok":
        return el("b", "no end recorded", cls="v warn")
    if one.ended is None:
        return el("b", "still there, as far as the log says", cls="v warn")
    words = [when(one.ended.when), " ", line_link(one.ended.line), text(f", {one.ending}")]
    if one.compared:
        kind = "good" if one.compared == "unchanged" else "bad" if one.details else "warn"
        words += [Markup("<br>"), el("b", compared(one), cls=f"s {kind}")]
    return join((*words, *(join((Markup("<br>"), said(detail))) for detail in one.details)))


def _mounts(one: Attachment) -> Markup:
    return join(
        el(
            "div",
            said(mount.target),
            " ",
            said(f"{mount.driver or mount.filesystem}, {','.join(mount.options)}"),
            " ",
            line_link(mount.line),
            join((" until ", when(mount.ended.when))) if mount.ended else text(", not unmounted in the log"),
        )
        for mount in one.mounts
    )


def _notes(item: Exhibit) -> Markup:
    return section("Notes and enclosures", "", notes(item.notes), level=4)

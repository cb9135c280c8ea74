"""Acts in CASE/UCO: who did what when with which tool, to what, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgkit.reports.case_uco.graph import integer, string, strings, time, unique
from imgkit.reports.values import as_json, items, mapping, text
from imgkit.reports.wording import UNSHOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgkit.reports.case_uco.exhibits import Exhibits
    from imgkit.reports.case_uco.graph import Graph, Ref
    from imgkit.reports.view import Act, CaseView, Enclosed, Session

_ACTION = "case-investigation:InvestigativeAction"
_STATUS = {"ok": "Success", "failed": "Fail", "interrupted": "Error", "unknown": "Unknown", "open": "Unknown"}


class Acts:
    """Adds the acts of a case to a graph."""

    def __init__(self, graph: Graph, case: CaseView, exhibits: Exhibits) -> None:
        """Args: `graph` is added to; `exhibits` has added its own already."""
        self._graph = graph
        self._exhibits = exhibits
        self._enclosed = {item.line: item for item in case.enclosed}
        self._begun = {item.ended.line: item.begun for item in case.attachments if item.ended}
        self._act_of = {line: act.line for act in case.acts for line in act.lines}
        self._errors: dict[int, list[str]] = {}
        for error in case.read_errors:
            words = f"{error.of}: {error.length} bytes at byte {error.offset} were not read: {error.reason}"
            self._errors.setdefault(self._act_of.get(error.line, error.line), []).append(words)

        for line, count in (one for exhibit in case.exhibits for one in exhibit.unlisted):
            words = f"{count} ranges were not read; their list {UNSHOWN}"
            self._errors.setdefault(self._act_of.get(line, line), []).append(words)

    def add(self, act: Act) -> None:
        """Add one act or event."""
        known = [name for name in act.exhibits if self._exhibits.known(name)]
        people = list(self._people(act))
        informed = self._begun.get(act.line)
        self._graph.add(
            self._ref(act.line),
            _ACTION,
            core_name=string(act.type),
            core_description=strings(self._words(act)),
            core_externalReference=[self._line(act.line, act.hash), *self._outcome(act)],
            action_actionStatus="Complete/Finish" if act.is_event else _STATUS.get(act.result, "Unknown"),
            action_startTime=time(act.begun.utc),
            action_endTime=self._end(act),
            action_performer=people[0],
            action_participant=unique(people[1:]),
            action_instrument=self._tool(act.session),
            action_environment=self._host(act.session),
            action_location=self._place(act),
            action_object=unique(self._objects(act, known)),
            action_result=unique(self._results(act, known)),
            action_error=self._error(act),
            investigation_wasInformedBy=self._ref(informed.line) if informed else None,
        )

    def _ref(self, line: int) -> Ref:
        return self._graph.ref(_ACTION, line)

    def _line(self, line: int, line_hash: str) -> Ref:
        return self._graph.reference(f"SHA-256 of line {line} of the custody log", line_hash)

    def _outcome(self, act: Act) -> list[Ref]:
        return [self._line(act.ended_line, act.ended_hash)] if act.ended_line else []

    def _end(self, act: Act) -> Ref | None:
        if act.is_event:
            return time(act.begun.utc)
        return time(act.when.utc) if act.ended else None

    def _words(self, act: Act) -> Iterator[str]:
        yield f"custody log, line {' and '.join(map(str, act.lines))}"
        for key, said in (("reason", act.reason), ("authority", act.authority), ("place", act.place)):
            if said:
                yield f"{key}: {said}"
        if not act.is_event:
            yield f"result: {act.result}"
        if act.written is not None:
            yield f"recorded late, at {act.written.utc}"
        if act.time.sync != "ok":
            yield "nothing kept the clock right"
        for line in act.reconciled:
            yield f"reconciled at line {line}"
        for one in act.corrections:
            yield f"line {one.line} corrects line {one.of}: {one.field} is {one.now}, because {one.why}"
        if act.is_event and act.data:
            yield as_json(act.data)

    def _people(self, act: Act) -> Iterator[Ref]:
        """Who did it; at a hand-over the one who gives performs it, and the one who takes takes part."""
        actor = act.actor
        yield self._person(actor.name, actor.id, actor.role, actor.org)
        for key in ("from", "to", "by"):
            named = mapping(act.data.get(key)) if act.type.startswith("custody.") else {}
            if named.get("name") or named.get("id"):
                name, own_id = text(named.get("name")), text(named.get("id"))
                if (name, own_id) != (actor.name, actor.id):
                    yield self._person(name, own_id, text(named.get("role")), text(named.get("org")))

    def _person(self, name: str, own_id: str, role: str, org: str) -> Ref:
        graph, kind = self._graph, "uco-identity:Person"
        ref = graph.ref(kind, name, own_id, role, org)
        if graph.has(ref):
            return ref
        graph.add(
            ref,
            kind,
            core_name=string(name),
            core_description=strings([f"role, as stated: {role}" if role else ""]),
            core_externalReference=graph.reference("id of a person in the custody log", own_id)
            if own_id
            else None,
        )
        if org:
            kind = "uco-identity:Organization"
            whole = graph.add(graph.ref(kind, org), kind, core_name=string(org))
            graph.relation(ref, whole, "Affiliated_With", observable=False)
        return ref

    def _tool(self, session: Session) -> Ref | None:
        """The tool of a session: another installation of the same version is another tool."""
        if not session.tool:
            return None
        graph, kind = self._graph, "uco-tool:Tool"
        ref = graph.ref(kind, session.tool, session.record_sha256, session.python, session.libraries)
        if graph.has(ref):
            return ref
        said = [f"{key} {version}" for key, version in session.libraries]
        installed = f"SHA-256 of the list of its installed files: {session.record_sha256}"
        return graph.add(
            ref,
            kind,
            core_name=string(session.tool.removesuffix(session.version).strip() or session.tool),
            core_description=strings(
                [installed if session.record_sha256 else "", f"python {session.python}", *said]
            ),
            tool_toolType="disk image tool",
            tool_version=string(session.version),
        )

    def _host(self, session: Session) -> Ref | None:
        if not session.host:
            return None
        graph, kind = self._graph, "uco-observable:Computer"
        ref = graph.ref(kind, session.host, session.kernel)
        facet = graph.facet(ref, "uco-observable:DeviceFacet", observable_deviceType="Computer")
        kernel = f"kernel {session.kernel}" if session.kernel else ""
        return graph.add(
            ref,
            kind,
            core_name=string(session.host),
            core_description=strings([kernel]),
            core_hasFacet=[facet],
        )

    def _place(self, act: Act) -> list[Ref]:
        place = act.place or (text(act.data.get("place")) if act.type.startswith("custody.") else "")
        if not place:
            return []
        kind = "uco-location:Location"
        return [self._graph.add(self._graph.ref(kind, place), kind, core_name=string(place))]

    def _objects(self, act: Act, known: list[str]) -> Iterator[Ref]:
        yield from (self._exhibits.image(name) for name in known)
        if act.type == "correction.added" and isinstance(act.data.get("line"), int):
            corrected = self._act_of.get(act.data["line"])
            if corrected is not None:
                yield self._ref(corrected)

    def _results(self, act: Act, known: list[str]) -> Iterator[Ref]:
        yield from self._exhibits.results.get(act.line, ())
        if act.type.startswith("custody."):
            for name in known:
                yield self._exhibits.record(act, name, [self._exhibits.image(name)])
        if act.line in self._enclosed:
            yield self._note(self._enclosed[act.line], act)
        said = [_compared(item) for item in items(act.data.get("comparisons"))]
        if verdict := text(act.data.get("verdict")):
            said.append(f"verdict: {verdict}")
        if said:
            kind = "uco-core:Assertion"
            name = "what was compared, and what came of it"
            ref = self._graph.ref(kind, "compared", act.line)
            yield self._graph.add(ref, kind, core_name=name, core_statement=strings(said))

    def _note(self, item: Enclosed, act: Act) -> Ref:
        return self._note_text(item, act) if item.kind == "note" else self._enclosure(item)

    def _note_text(self, item: Enclosed, act: Act) -> Ref:
        graph, kind = self._graph, "uco-observable:Note"
        ref = graph.ref(kind, item.line)
        facet = graph.facet(
            ref,
            "uco-observable:NoteFacet",
            observable_text=string(item.text),
            observable_observableCreatedTime=time(act.when.utc),
        )
        withheld = f"the text {UNSHOWN}" if item.withheld else ""
        content = graph.facet(
            ref,
            "uco-observable:ContentDataFacet",
            observable_hash=graph.hashes([("sha256", item.sha256)]),
            observable_sizeInBytes=integer(item.bytes),
        )
        return graph.add(ref, kind, core_description=strings([withheld]), core_hasFacet=[content, facet])

    def _enclosure(self, item: Enclosed) -> Ref:
        graph, kind = self._graph, "uco-observable:File"
        ref = graph.ref(kind, "enclosure", item.line)
        file = graph.facet(
            ref,
            "uco-observable:FileFacet",
            observable_fileName=string(item.name),
            observable_sizeInBytes=integer(item.bytes),
        )
        content = graph.facet(
            ref, "uco-observable:ContentDataFacet", observable_hash=graph.hashes([("sha256", item.sha256)])
        )
        origin = f"copied from {item.origin}" if item.origin else ""
        return graph.add(
            ref,
            kind,
            core_name=string(item.name),
            core_description=strings([item.description, origin]),
            core_hasFacet=[content, file],
        )

    def _error(self, act: Act) -> list[Ref]:
        said = [*([act.error] if act.error else []), *self._errors.get(act.line, ())]
        if not said:
            return []
        kind = "uco-core:Assertion"
        ref = self._graph.ref(kind, "error", act.line)
        return [self._graph.add(ref, kind, core_name="error", core_statement=strings(said))]


def _compared(item: dict[str, object]) -> str:
    came = "equal" if item.get("matches") is True else "NOT equal"
    source = text(mapping(item.get("source")))
    words = f"{text(item.get('algorithm'))} {text(item.get('actual'))} computed, {text(item.get('expected'))} stated"
    return f"{words}: {came} ({source})"

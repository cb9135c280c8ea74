"""A case as CASE/UCO 1.5.0 in JSON-LD: investigation, exhibits, people, tools, and each act with what came of it.

BLAKE3 is none of the vocabulary's hash names. Its digests are external references of the bytes they are of, so that a
validator has nothing to remark on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from imgkit.reports.case_uco.acts import Acts
from imgkit.reports.case_uco.exhibits import Exhibits
from imgkit.reports.case_uco.graph import ONTOLOGY, Graph, integer, string, strings, time
from imgkit.reports.wording import covered, outside

if TYPE_CHECKING:
    from imgkit.reports.case_uco.graph import Ref
    from imgkit.reports.view import CaseView

NAME = "case-uco"


def write(case: CaseView, out: BinaryIO) -> None:
    """Write the graph of a case."""
    graph = Graph(case.log, case.head)
    log = _log(graph, case)
    _verification(graph, case, log)
    exhibits = Exhibits(graph)
    for exhibit in case.exhibits:
        exhibits.add(exhibit)
    acts = Acts(graph, case, exhibits)
    for act in case.acts:
        acts.add(act)
    _investigation(graph, case)
    _bundle(graph, case)
    out.write(graph.document())


def _scope(case: CaseView) -> str:
    return f"custody log {case.log or 'without a uuid'}, {case.covered}, head {case.head}"


def _log(graph: Graph, case: CaseView) -> Ref:
    """The log itself, as far as this export covers it."""
    kind = "uco-observable:File"
    ref = graph.ref(kind, "log")
    size = integer(case.bytes)
    graph.add(
        ref,
        kind,
        core_name="custody.jsonl",
        core_description=string(f"{_scope(case)}, {case.bytes} bytes"),
        core_externalReference=[
            graph.reference("uuid of the custody log", case.log),
            graph.reference(f"SHA-256 of line {case.lines} of the custody log, its head", case.head),
        ],
        core_hasFacet=[
            graph.facet(
                ref,
                "uco-observable:FileFacet",
                observable_fileName="custody.jsonl",
                observable_sizeInBytes=size,
            )
        ],
    )
    return ref


def _verification(graph: Graph, case: CaseView, log: Ref) -> None:
    """What the verifier says of the log."""
    said = [f"verification: {case.verdict}", outside(case)]
    said += [
        f"{found.severity} {found.code}{f' line {found.line}' if found.line else ''}: {found.message}"
        for found in case.findings
    ]
    said += [covered(one) for one in case.coverage]
    said += [f"line {line} is no record that this version can read" for line in case.unread]
    said += [f"proved: {sentence}" for sentence in case.proved]
    said += [f"not proved: {sentence}" for sentence in case.not_proved]
    kind = "uco-core:Annotation"
    graph.add(
        graph.ref(kind, "verification"),
        kind,
        core_name="Verification of the custody log",
        core_object=[log],
        core_statement=strings(said),
        core_tag=[case.verdict, *sorted(case.counts)],
    )


def _investigation(graph: Graph, case: CaseView) -> None:
    facts = dict(case.case)
    kind = "case-investigation:Investigation"
    names = " ".join(filter(None, (facts.get("number"), facts.get("title")))) or case.log
    sealed = [act.type for act in case.acts if act.type in ("case.sealed", "case.reopened")]
    graph.add(
        graph.ref(kind, "case"),
        kind,
        core_name=string(names),
        core_description=strings([_scope(case), *(f"{key}: {said}" for key, said in case.case)]),
        core_startTime=time(case.first),
        investigation_investigationForm="case" if case.opened and case.opened.type == "case.opened" else None,
        investigation_investigationStatus="sealed" if sealed[-1:] == ["case.sealed"] else "open",
        investigation_relevantAuthorization=_authorization(graph, facts.get("authority", "")),
        core_object=graph.objects(),
    )


def _authorization(graph: Graph, authority: str) -> list[Ref]:
    if not authority:
        return []
    kind = "case-investigation:Authorization"
    ref = graph.ref(kind, authority)
    return [
        graph.add(
            ref, kind, core_name=string(authority), core_description=["as stated when the log was opened"]
        )
    ]


def _bundle(graph: Graph, case: CaseView) -> None:
    kind = "uco-core:Bundle"
    graph.add(
        graph.ref(kind, "export", case.lines, case.head),
        kind,
        core_name=string(f"Case {case.name}"),
        core_description=strings([f"Made by imgkit of {_scope(case)}", f"verification: {case.verdict}"]),
        core_specVersion=ONTOLOGY,
        core_object=graph.objects(),
    )

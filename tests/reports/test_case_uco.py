"""CASE/UCO: valid by case_validate without a network, read back by rdflib, deterministic, nothing of the log lost."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.verify import verify_log
from imgkit.reports import report
from imgkit.reports.case_uco.graph import PREFIXES, Graph, string, time
from tests.reports.forged import BLAKE3, HOSTILE, MD5, SHA256, Case, full, hostile, made, many, view_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgkit.reports.view import CaseView

Node = dict[str, Any]
NO_NETWORK = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}


def graph_of(case: CaseView) -> dict[str, Node]:
    document = json.loads(made("case_uco", case))
    assert document["@context"] == PREFIXES
    nodes = {node["@id"]: node for node in document["@graph"]}
    assert len(nodes) == len(document["@graph"])
    return nodes


def typed(nodes: dict[str, Node], kind: str) -> list[Node]:
    return [node for node in nodes.values() if node["@type"] == kind]


def refs(node: Node, key: str) -> list[str]:
    value = node.get(key, [])
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def facets(nodes: dict[str, Node], node: Node) -> dict[str, Node]:
    found = [nodes[name] for name in refs(node, "uco-core:hasFacet")]
    return {one["@type"].rpartition(":")[2]: one for one in found}


def validate(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    start = "from case_utils.case_validate import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", start, "--built-version", "case-1.5.0"]
    return subprocess.run(
        [*command, *options, str(path)],
        env=NO_NETWORK | {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(name="case", scope="module")
def fixture_case(tmp_path_factory: pytest.TempPathFactory) -> CaseView:
    return full(tmp_path_factory.mktemp("case") / "full")


@pytest.fixture(name="nodes", scope="module")
def fixture_nodes(case: CaseView) -> dict[str, Node]:
    return graph_of(case)


def test_is_in_the_table_of_reports() -> None:
    assert report("case-uco").NAME == "case-uco"


def hostile_in_short(folder: Path) -> CaseView:
    """PySHACL's time grows with the square of what is said of one object: those that RDF could stumble over."""
    return hostile(folder, (*HOSTILE[1:4], HOSTILE[5], HOSTILE[-1]))


@pytest.mark.parametrize("make", [full, hostile_in_short])
def test_case_validate_has_nothing_to_remark(make: Callable[[Path], CaseView], tmp_path: Path) -> None:
    path = tmp_path / "case.jsonld"
    path.write_bytes(made("case_uco", make(tmp_path / "case")))
    done = validate(path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Conforms: True" in done.stdout
    assert done.stderr == ""


def test_case_validate_would_remark_on_a_fault(case: CaseView, tmp_path: Path) -> None:
    path = tmp_path / "case.jsonld"
    path.write_bytes(made("case_uco", case).replace(SHA256.encode(), b"no hex"))
    done = validate(path)
    assert done.returncode == 1
    assert "Conforms: False" in done.stdout


@pytest.mark.filterwarnings(
    "ignore:ConjunctiveGraph is deprecated:DeprecationWarning"
)  # of rdflib's own reader
def test_rdflib_reads_the_same_graph(nodes: dict[str, Node], case: CaseView) -> None:
    import rdflib

    graph = rdflib.Graph()
    graph.parse(data=made("case_uco", case), format="json-ld")
    subjects = set(graph.subjects())
    assert {str(one) for one in subjects} == {name.replace("kb:", PREFIXES["kb"]) for name in nodes}
    assert not [one for one in subjects if isinstance(one, rdflib.BNode)]
    action = rdflib.URIRef(f"{PREFIXES['case-investigation']}InvestigativeAction")
    assert len(set(graph.subjects(rdflib.RDF.type, action))) == len(case.acts)


def test_equal_bytes_of_equal_views(case: CaseView, tmp_path: Path) -> None:
    content = made("case_uco", case)
    assert content == made("case_uco", full(tmp_path / "again"))
    assert content.isascii()
    assert content.endswith(b"}\n")


def test_names_are_made_of_the_log_and_not_of_the_place(case: CaseView, tmp_path: Path) -> None:
    other = Case(tmp_path / "other", seed=2)
    other.forge.open()
    assert graph_of(case).keys().isdisjoint(graph_of(other.save()).keys())


def test_every_reference_is_answered(nodes: dict[str, Node]) -> None:
    for node in nodes.values():
        for value in node.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict) and "@id" in one:
                    assert one["@id"] in nodes


def test_tells_log_lines_head_and_findings(nodes: dict[str, Node], case: CaseView) -> None:
    [bundle] = typed(nodes, "uco-core:Bundle")
    assert (
        f"Made by imgkit of custody log {case.log}, lines 1 to {case.lines}, head {case.head}"
        in (bundle["uco-core:description"])
    )
    assert bundle["uco-core:specVersion"] == "1.5.0"
    [said] = [one for one in typed(nodes, "uco-core:Annotation") if "uco-core:tag" in one]
    statements = said["uco-core:statement"]
    for found in case.findings:
        assert any(found.code in one and found.message in one for one in statements)
    for sentence in case.not_proved:
        assert f"not proved: {sentence}" in statements


def test_each_act_has_performer_times_and_tool(nodes: dict[str, Node], case: CaseView) -> None:
    actions = typed(nodes, "case-investigation:InvestigativeAction")
    assert len(actions) == len(case.acts)
    for action in actions:
        assert nodes[action["uco-action:performer"]["@id"]]["@type"] == "uco-identity:Person"
        [tool] = [nodes[name] for name in refs(action, "uco-action:instrument")]
        assert (tool["uco-core:name"], tool["uco-tool:version"]) == ("imgkit", "0.1.0")
        assert action["uco-action:startTime"]["@type"] == "xsd:dateTime"
    [late] = [one for one in actions if one["uco-core:name"] == "evidence.touched"]
    assert late["uco-action:startTime"]["@value"] == "2026-05-01T08:59:00.000000Z"


def action_at(nodes: dict[str, Node], line: int) -> Node:
    for action in typed(nodes, "case-investigation:InvestigativeAction"):
        numbers = action["uco-core:description"][0].partition("line ")[2].split(" and ")
        if str(line) in numbers:
            return action
    raise AssertionError(f"no action of line {line}")


def test_hashing_results_in_digests_of_what_was_read(nodes: dict[str, Node]) -> None:
    action = action_at(nodes, 4)
    assert action["uco-action:actionStatus"] == "Success"
    [image] = refs(action, "uco-action:object")
    assert nodes[image]["uco-core:name"] == "EX1"
    [data] = [nodes[name] for name in refs(action, "uco-action:result")]
    hashes = [nodes[name] for name in refs(facets(nodes, data)["ContentDataFacet"], "uco-observable:hash")]
    assert [(one["uco-types:hashMethod"], one["uco-types:hashValue"]) for one in hashes] == [
        ("SHA256", {"@type": "xsd:hexBinary", "@value": SHA256})
    ]
    outside = [
        nodes[name]["uco-core:externalIdentifier"] for name in refs(data, "uco-core:externalReference")
    ]
    assert outside == [BLAKE3]


def test_a_mismatch_and_read_errors_are_there(nodes: dict[str, Node]) -> None:
    action = action_at(nodes, 6)
    said = [
        line
        for name in refs(action, "uco-action:result")
        for line in nodes[name].get("uco-core:statement", ())
    ]
    assert any(f"md5 {MD5} computed, {'0' * 32} stated: NOT equal" in line for line in said)
    assert "verdict: mismatch" in said
    [error] = [nodes[name] for name in refs(action, "uco-action:error")]
    assert error["uco-core:statement"] == ["media: 4096 bytes at byte 512 were not read: input/output error"]


def test_partition_with_place_and_file_system(nodes: dict[str, Node]) -> None:
    [part] = typed(nodes, "uco-observable:DiskPartition")
    found = facets(nodes, part)
    place = found["DiskPartitionFacet"]
    assert place["uco-observable:partitionOffset"] == {"@type": "xsd:integer", "@value": "1048576"}
    assert place["uco-observable:partitionLength"] == {"@type": "xsd:integer", "@value": "1048576"}
    assert found["FileSystemFacet"]["uco-observable:fileSystemType"] == "ext4"
    assert part["@id"] in refs(action_at(nodes, 8), "uco-action:result")


def test_exhibit_with_source_files_and_provenance(nodes: dict[str, Node]) -> None:
    records = typed(nodes, "case-investigation:ProvenanceRecord")
    assert {one["case-investigation:exhibitNumber"] for one in records} == {"EX1"}
    assert len(records) == 2  # added, and handed over
    [device] = typed(nodes, "uco-observable:Device")
    facet = facets(nodes, device)["DeviceFacet"]
    assert facet["uco-observable:serialNumber"] == "0042"
    assert nodes[facet["uco-observable:manufacturer"]["@id"]]["uco-core:name"] == "Samsung"


def test_a_hand_over_names_who_gives_who_takes_and_where(nodes: dict[str, Node]) -> None:
    action = action_at(nodes, 23)
    assert nodes[action["uco-action:performer"]["@id"]]["uco-core:name"] == "Jane Doe"
    takers = [nodes[name]["uco-core:name"] for name in refs(action, "uco-action:participant")]
    assert takers == ["Bob Roe"]
    assert [nodes[name]["uco-core:name"] for name in refs(action, "uco-action:location")] == ["lab 2"]
    assert any('"rehashed": false' in text for text in action["uco-core:description"])
    assert [nodes[name]["@type"] for name in refs(action, "uco-action:result")] == [
        "case-investigation:ProvenanceRecord"
    ]


def test_a_detach_follows_its_attach_and_a_failure_is_one(nodes: dict[str, Node]) -> None:
    detach = action_at(nodes, 16)
    assert refs(detach, "case-investigation:wasInformedBy") == [action_at(nodes, 10)["@id"]]
    failed = action_at(nodes, 18)
    assert failed["uco-action:actionStatus"] == "Fail"
    [error] = [nodes[name] for name in refs(failed, "uco-action:error")]
    assert error["uco-core:statement"] == ["ImageError: segment 3 is missing"]
    assert "uco-action:endTime" not in action_at(nodes, 28)


def test_note_enclosure_and_correction(nodes: dict[str, Node]) -> None:
    [note] = typed(nodes, "uco-observable:Note")
    assert facets(nodes, note)["NoteFacet"]["uco-observable:text"] == "seal 4711 intact\n"
    correction = action_at(nodes, 22)
    assert action_at(nodes, 2)["@id"] in refs(correction, "uco-action:object")
    [investigation] = typed(nodes, "case-investigation:Investigation")
    assert investigation["case-investigation:investigationStatus"] == "sealed"
    assert investigation["uco-core:name"] == "2026-01 Laptop"


def test_hostile_texts_are_values_and_fit_an_xsd_string(tmp_path: Path) -> None:
    content = made("case_uco", hostile(tmp_path / "case"))
    texts = [text for node in json.loads(content)["@graph"] for text in strings_in(node)]
    for text in texts:
        assert all(char in "\n\t" or ord(char) >= 0x20 for char in text)
        assert not set(text) & set("\u202e\x9b\x7f")
    assert "<script>alert(1)</script>" in texts
    assert HOSTILE[0] in texts  # JSON is no spreadsheet: the text stays as it was recorded
    assert "\\u202egnp.exe" in texts
    assert "two\nlines\nand a third" in texts
    assert "L2Uv/xsuZGQ=" in texts  # the bytes of a path that is no text


def strings_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in strings_in(one)]
    if isinstance(value, list):
        return [text for one in value for text in strings_in(one)]
    return [value] if isinstance(value, str) else []


def test_a_log_without_uuid_or_time_still_makes_a_graph(tmp_path: Path) -> None:
    case = tmp_path / "case"
    case.mkdir()
    (case / "custody.jsonl").write_bytes(b"{}\n")
    assert verify_log(case).failed
    nodes = graph_of(view_of(case))
    [investigation] = typed(nodes, "case-investigation:Investigation")
    assert "uco-core:startTime" not in investigation
    path = tmp_path / "case.jsonld"
    path.write_bytes(made("case_uco", view_of(case)))
    assert validate(path).returncode == 0


def test_small_parts() -> None:
    assert time("2026-13-01T00:00:00.000000Z") is None
    assert string("a\r\nb\x00\x1b\ud800") == "a\nb\\x00\\x1b\\ud800"
    graph = Graph("not a uuid", "0" * 64)
    assert graph.hashes([("sha3-256", "ab" * 32), ("md5", "xyz"), ("sha1", "abc")]) == [
        graph.ref("uco-types:Hash", "SHA3-256", "ab" * 32)
    ]


def test_a_long_case_names_every_act(tmp_path: Path) -> None:
    case = many(tmp_path / "case", 10_000)
    content = made("case_uco", case)
    assert content.count(b'"@type": "case-investigation:InvestigativeAction"') == len(case.acts)


def test_relationships_of_observables_are_of_their_class_and_vocabulary(nodes: dict[str, Node]) -> None:
    words = {"Contained_Within", "Copied_From", "Read_From", "Characterizes"}
    found = [node for node in nodes.values() if node["@type"] == "uco-observable:ObservableRelationship"]
    assert {node["uco-core:kindOfRelationship"] for node in found} == words
    others = [node for node in nodes.values() if node["@type"] == "uco-core:Relationship"]
    assert {node["uco-core:kindOfRelationship"] for node in others} == {"Affiliated_With"}

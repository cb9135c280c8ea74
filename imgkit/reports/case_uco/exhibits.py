"""Exhibits in CASE/UCO: image, files, source device, partitions, stated digests, and the provenance record of each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgkit.reports.case_uco.graph import integer, string, strings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgkit.reports.case_uco.graph import Graph, Ref
    from imgkit.reports.view import Act, Exhibit, File, OwnDigest, Partition, Table

_IMAGE = "uco-observable:Image"
_FILE = "uco-observable:File"
_PARTITION = "uco-observable:DiskPartition"
_DATA = "uco-observable:ContentData"
_RECORD = "case-investigation:ProvenanceRecord"


class Exhibits:
    """Adds exhibits to a graph, and remembers which line found out what about them."""

    def __init__(self, graph: Graph) -> None:
        """Args: `graph` is added to."""
        self._graph = graph
        self._root: dict[str, str] = {}
        self.results: dict[int, list[Ref]] = defaultdict(list)  # line of an act -> what came of it

    def image(self, name: str) -> Ref:
        """The name of an exhibit's media."""
        return self._graph.ref(_IMAGE, name)

    def known(self, name: str) -> bool:
        """Whether there is such an exhibit."""
        return name in self._root

    def add(self, exhibit: Exhibit) -> None:
        """Add one exhibit; an original before its copies, as the log has them."""
        self._root[exhibit.name] = self._root.get(exhibit.copy_of, exhibit.name)
        image = self._image(exhibit)
        held = [image, *self._files(exhibit, image), *self._source(exhibit, image)]
        line = exhibit.added.line
        if self.known(exhibit.copy_of) and exhibit.copy_of != exhibit.name:
            self.results[line].append(self._graph.relation(image, self.image(exhibit.copy_of), "Copied_From"))
        self.results[line] += [*held, *self._stated(exhibit, image)]
        self.results[line].append(self.record(exhibit.added, exhibit.name, held, exhibit.description))
        for table in exhibit.tables:
            self._table(exhibit.name, image, table)
        found: dict[int, list[OwnDigest]] = defaultdict(list)
        for own in exhibit.own:
            found[own.act.line].append(own)
        for act_line, digests in found.items():
            self._digests(exhibit.name, image, act_line, digests)

    def record(self, act: Act, name: str, held: list[Ref], description: str = "") -> Ref:
        """The provenance record that an act leaves of an exhibit."""
        said = f"exhibit {name}, {act.type} at line {act.line} of the custody log"
        return self._graph.add(
            self._graph.ref(_RECORD, act.line, name),
            _RECORD,
            core_description=strings([said, description]),
            investigation_exhibitNumber=string(name),
            investigation_rootExhibitNumber=string(self._root.get(name, name)),
            core_object=held,
        )

    def _image(self, exhibit: Exhibit) -> Ref:
        """The media; its hashes are the first sound ones of each algorithm: later ones are held against them."""
        graph, ref = self._graph, self.image(exhibit.name)
        first: dict[str, str] = {}
        for own in exhibit.own:
            if own.of == "media" and own.sound:
                first.setdefault(own.algorithm, own.value)
        data = graph.facet(
            ref,
            "uco-observable:ContentDataFacet",
            observable_sizeInBytes=integer(exhibit.size),
            observable_hash=graph.hashes(first.items()),
        )
        kind = graph.facet(ref, "uco-observable:ImageFacet", observable_imageType=string(exhibit.format))
        facts = [f"acquired {key}: {said}" for key, said in exhibit.acquired]
        if exhibit.acquisition:  # of a header's fields the ontology has none
            facts += [
                f"said by the container, not checked, {key}: {said}"
                for key, said in exhibit.acquisition.facts
            ]
        facts += [
            f"line {said.line} corrects line {said.of}: {said.field} is {said.now}"
            for said in exhibit.corrections
        ]
        return graph.add(
            ref,
            _IMAGE,
            core_name=string(exhibit.name),
            core_description=strings([exhibit.description, *facts]),
            core_externalReference=graph.other_digests(first.items()),
            core_hasFacet=[data, kind],
        )

    def _files(self, exhibit: Exhibit, image: Ref) -> list[Ref]:
        refs = [self._file(exhibit.name, index, file) for index, file in enumerate(exhibit.files)]
        for ref in refs:
            self._graph.relation(image, ref, "Contained_Within")
        return refs

    def _file(self, name: str, index: int, file: File) -> Ref:
        graph, ref = self._graph, self._graph.ref(_FILE, name, index)
        facet = graph.facet(
            ref,
            "uco-observable:FileFacet",
            observable_fileName=string(file.path.rpartition("/")[2] or file.path),
            observable_filePath=string(file.path),
            observable_sizeInBytes=integer(file.bytes),
        )
        exact = graph.reference("bytes of the path, in base64", file.path_b64) if file.path_b64 else None
        return graph.add(
            ref,
            _FILE,
            core_name=string(file.path.rpartition("/")[2] or file.path),
            core_description=strings([f"{file.role} {index} of {name}", file.device]),
            core_externalReference=exact,
            core_hasFacet=[facet],
        )

    def _source(self, exhibit: Exhibit, image: Ref) -> list[Ref]:
        """What the image was taken from, as people state it."""
        if not exhibit.source:
            return []
        graph, facts = self._graph, dict(exhibit.source)
        kind = "uco-observable:Device"
        ref = graph.ref(kind, exhibit.name)
        maker = facts.get("make", "")
        facet = graph.facet(
            ref,
            "uco-observable:DeviceFacet",
            observable_manufacturer=self._maker(maker) if maker else None,
            observable_model=string(facts.get("model", "")),
            observable_serialNumber=string(facts.get("serial", "")),
        )
        graph.add(
            ref,
            kind,
            core_name=string(f"source of {exhibit.name}"),
            core_description=strings(f"{key}, as stated: {said}" for key, said in exhibit.source),
            core_hasFacet=[facet],
        )
        graph.relation(image, ref, "Copied_From")
        return [ref]

    def _maker(self, name: str) -> Ref:
        kind = "uco-identity:Organization"
        return self._graph.add(self._graph.ref(kind, name), kind, core_name=string(name))

    def _stated(self, exhibit: Exhibit, image: Ref) -> Iterable[Ref]:
        """Digests that others state: of data that nobody here has read yet, so they are no facet of the image."""
        by_source: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for said in exhibit.stated:
            by_source[said.source].append((said.algorithm, said.value))
        graph = self._graph
        for source, digests in by_source.items():
            ref = graph.ref(_DATA, "stated", exhibit.name, source)
            self._data(ref, f"media of {exhibit.name}, digests {source}", digests, exhibit.size)
            graph.relation(ref, image, "Characterizes")
            yield ref

    def _data(
        self, ref: Ref, name: str, digests: list[tuple[str, str]], size: int | None, said: str = ""
    ) -> None:
        graph = self._graph
        facet = graph.facet(
            ref,
            "uco-observable:ContentDataFacet",
            observable_sizeInBytes=integer(size),
            observable_hash=graph.hashes(digests),
        )
        graph.add(
            ref,
            _DATA,
            core_name=string(name),
            core_description=strings([said]),
            core_externalReference=graph.other_digests(digests),
            core_hasFacet=[facet],
        )

    def _digests(self, name: str, image: Ref, line: int, found: list[OwnDigest]) -> None:
        """What an act read, and the digests that came out."""
        first = found[0]
        ref = self._graph.ref(_DATA, line)
        place = f"{first.of} of {name}, as read at line {line}"
        if first.offset is not None:
            place += f", from byte {first.offset}"
        unsound = "" if first.sound else "digests of no one state: read errors, or changed during the read"
        self._data(ref, place, [(item.algorithm, item.value) for item in found], first.length, unsound)
        self._graph.relation(ref, image, "Read_From")
        self.results[line].append(ref)

    def _table(self, name: str, image: Ref, table: Table) -> None:
        self.results[table.act.line] += [self._partition(name, image, item) for item in table.partitions]
        said = [f"{item.severity} {item.code}: {item.message}" for item in table.findings]
        said += [f"gap at byte {offset}, {length} bytes" for offset, length in table.gaps]
        said += [f"{key} {version} read the table" for key, version in table.readers]
        kind = "uco-core:Annotation"
        ref = self._graph.add(
            self._graph.ref(kind, "table", table.line),
            kind,
            core_name=string(f"partition table of {name}: {table.scheme}"),
            core_object=[image],
            core_statement=strings([f"scheme {table.scheme}, sector size {table.sector_size}", *said]),
        )
        self.results[table.act.line].append(ref)

    def _partition(self, name: str, image: Ref, item: Partition) -> Ref:
        """A partition; one that was found again as it was is the same."""
        graph = self._graph
        key = (
            item.number,
            item.offset,
            item.length,
            item.type,
            item.name,
            item.filesystem,
            item.label,
            item.uuid,
        )
        ref = graph.ref(_PARTITION, name, *key)
        if graph.has(ref):
            return ref
        place = graph.facet(
            ref,
            "uco-observable:DiskPartitionFacet",
            observable_partitionID=str(item.number),
            observable_partitionOffset=integer(item.offset),
            observable_partitionLength=integer(item.length),
            observable_diskPartitionType=string(item.type or item.type_name),
        )
        facets = [place]
        if item.filesystem:
            kind = "uco-observable:FileSystemFacet"
            facets.append(graph.facet(ref, kind, observable_fileSystemType=string(item.filesystem)))
        if item.uuid:
            kind = "uco-observable:VolumeFacet"
            facets.append(graph.facet(ref, kind, observable_volumeID=string(item.uuid)))
        label = f"label of the file system: {item.label}" if item.label else ""
        graph.add(
            ref,
            _PARTITION,
            core_name=string(item.name or f"partition {item.number} of {name}"),
            core_description=strings([item.type_name, label]),
            core_hasFacet=facets,
        )
        graph.relation(ref, image, "Contained_Within")
        return ref

"""log verify --evidence: the images that lie beside a log, held against what it says of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from imgkit.cli.output import notice, say
from imgkit.custody.record import path_fields, printable

if TYPE_CHECKING:
    from imgkit.custody.verify import Verification
    from imgkit.examination.cases import CaseChoice
    from imgkit.examination.elsewhere import EvidenceCheck, ExhibitElsewhere

Document = dict[str, Any]


def held_against(chosen: CaseChoice, folder: str, found: Verification) -> EvidenceCheck | None:
    """Hash what lies in the folder; None where the log is too damaged to say what should.

    Raises:
        CustodyError: The log passes, and says of its exhibits what cannot be read.
        UsageError: No folder.
    """
    from imgkit.custody.reading import read_records
    from imgkit.errors import CustodyError
    from imgkit.examination.cases import identity_in
    from imgkit.examination.elsewhere import check_evidence
    from imgkit.examination.examiner import invoking_user
    from imgkit.examination.ledger import fold

    try:
        ledger = fold(read_records(chosen.log, identity=identity_in(chosen.folder)))
    except CustodyError as error:
        if found.ok:
            raise
        notice(f"the evidence was not looked at: {error.message}")
        return None
    return check_evidence(ledger, os.path.abspath(folder), invoking_user(os.environ), notify=notice)


def evidence_document(held: EvidenceCheck | None) -> Document | None:
    """The JSON of it."""
    if held is None:
        return None
    return {
        **path_fields(held.folder, key="folder"),
        "failed": held.failed,
        "exhibits": [_exhibit(item) for item in held.exhibits],
        "unreadable": [{**path_fields(path), "message": message} for path, message in held.unreadable],
    }


def _exhibit(item: ExhibitElsewhere) -> Document:
    return {
        "exhibit": item.exhibit,
        "size": item.size,
        "verdict": item.verdict,
        "recorded": [{"digest": str(digest), "line": line} for digest, line in item.recorded],
        "images": [
            {**path_fields(image.path), "digests": {one.algorithm: one.value for one in image.digests}}
            for image in item.images
        ],
    }


def say_evidence(held: EvidenceCheck | None) -> None:
    """The same in lines."""
    if held is None:
        say("verdict on the evidence: not looked at")
        return
    say(f"evidence in {printable(held.folder)}:")
    for item in held.exhibits:
        say(f"  {item.exhibit}: {_told(item)}", hang=4)
    for path, message in held.unreadable:
        say(f"  not opened: {printable(path)}: {printable(message)}", hang=4)
    say(f"verdict on the evidence: {_verdict(held)}")


def _verdict(held: EvidenceCheck) -> str:
    if held.failed:
        return "DIFFERS"
    there = sum(item.verdict == "match" for item in held.exhibits)
    return f"{there} of {len(held.exhibits)} exhibits are there and match"


def _told(item: ExhibitElsewhere) -> str:
    where = ", ".join(printable(image.path) for image in item.images)
    recorded = ", ".join(f"{digest} (line {line})" for digest, line in item.recorded)
    return {
        "match": f"found, and matches: {where}; {recorded}",
        "mismatch": f"DIFFERS: {where} has its size, and not its digests: {recorded}",
        "not-found": f"no image of {item.size} bytes is there",
        "no-digest": "the log has no digest of its media to compare with",
        "unreadable": f"{where} has its size and cannot be read to its end",
    }[item.verdict]

"""Options that several commands share, and how an examination is opened from them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from imgkit.examination import Examination
    from imgkit.examination.cases import CaseChoice

ImageArgument = Annotated[
    str, typer.Argument(metavar="IMAGE", help="Image file, any segment of a set, or a block device.")
]
CaseOption = Annotated[
    str | None,
    typer.Option("--case", metavar="DIR", help="Case folder whose log records this.", show_default=False),
]
ReadCaseOption = Annotated[
    str | None,
    typer.Option("--case", metavar="DIR", help="The same as CASE.", show_default=False),
]
LogArgument = Annotated[
    str | None, typer.Argument(metavar="CASE", help="Case folder or log file.", show_default=False)
]
ExaminerOption = Annotated[
    str | None,
    typer.Option(
        "--examiner", metavar="'NAME <ID>'", help="Who acts, if not the login name.", show_default=False
    ),
]
ExhibitOption = Annotated[
    str | None,
    typer.Option("--exhibit", metavar="EX1", help="Which exhibit the image is.", show_default=False),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; recorded.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document.")]
JsonLinesOption = Annotated[
    bool, typer.Option("--jsonl", help="Print one JSON document a line as images finish.")
]
ProgressOption = Annotated[
    str | None,
    typer.Option(
        "--progress", metavar="json", help="Print one JSON line a second on stderr.", show_default=False
    ),
]
SectorSizeOption = Annotated[
    int | None,
    typer.Option(
        "--sector-size", metavar="BYTES", help="Sector size of the table: 512 to 4096.", show_default=False
    ),
]
PartitionOption = Annotated[
    list[int] | None,
    typer.Option(
        "-p", "--partition", metavar="N", help="Partition number; may be repeated.", show_default=False
    ),
]

SECTOR_SIZES = (512, 1024, 2048, 4096)


def check_named(directory: str | None) -> None:
    """Refuse the empty name that an unset variable of a shell leaves: it would mean the working directory.

    Raises:
        UsageError: As said.
    """
    from imgkit.errors import UsageError

    if directory == "":
        raise UsageError("the name of the directory is empty", hint="name it, or . for the one you are in")


def check_sector_size(value: int | None) -> None:
    """Refuse what is no sector size.

    Raises:
        UsageError: As said.
    """
    from imgkit.errors import UsageError

    if value is not None and value not in SECTOR_SIZES:
        raise UsageError(f"a sector has 512, 1024, 2048 or 4096 bytes, not {value}")


def check_progress(value: str | None) -> None:
    """Refuse a progress style that there is not.

    Raises:
        UsageError: As said.
    """
    from imgkit.errors import UsageError

    if value not in (None, "json"):
        raise UsageError(f"--progress takes json, not {value!r}")


def open_examination(
    case: str | None,
    examiner: str | None,
    exhibit: str | None = None,
    reason: str | None = None,
    *,
    nobody: str | None = None,
) -> Examination:
    """Examination.open for a command: notices to stderr, root asked on a terminal (or `nobody` taken for an answer)."""
    from imgkit.cli.output import notice
    from imgkit.examination import Examination

    return Examination.open(
        case=case,
        examiner=examiner,
        exhibit=exhibit,
        reason=reason,
        notify=notice,
        ask=(lambda: nobody) if nobody else asker(),
    )


def asker() -> Any:
    """Ask for a name where somebody is there to answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda: typer.prompt("root acts: who is the examiner (NAME <ID>)", err=True)


def chosen_log(named: str | None) -> CaseChoice:
    """The log that a command reads: the stated one, else as for every command (docs/cli.md).

    Raises:
        CustodyError: There is none.
    """
    from imgkit.errors import CustodyError
    from imgkit.examination.cases import choose_case, stated
    from imgkit.examination.examiner import invoking_user, state_folder

    user = invoking_user(os.environ)
    folder = state_folder(user, os.environ)
    chosen = choose_case(stated(named, "IMGKIT_CASE", os.environ), user, folder, require_case=False)
    if not chosen.exists:
        raise CustodyError(
            f"no case here, and no log of your own yet at {chosen.log}", hint="name a case folder"
        )
    return chosen

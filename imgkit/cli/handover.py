"""case transfer, receive: exhibits go from one hand to another, with a bag and a receipt each way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.checkpoint import SignerOption
from imgkit.cli.exit_codes import MISMATCH, TROUBLE
from imgkit.cli.output import Progress, emit, notice, say
from imgkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

Document = dict[str, Any]

_HANG = 13  # where the text of a fact begins
_OF_THE_HAND_OVER = (
    *("--exhibit", "--purpose", "--method", "--place", "--condition", "--seal"),
    *("--with-images", "--not-rehashed"),
)  # options that say how, in the order of transfer's parameters
VERDICTS = {
    "mismatch": "MISMATCH: it is not what was recorded",
    "unreadable": "UNREADABLE: a part of it cannot be read",
    "no-reference": "read, but no digest is known to compare with",
    "unchanged": "unchanged since it was first read here",
}


def _text(name: str, help_text: str) -> Any:
    return typer.Option(name, metavar="TEXT", help=help_text, show_default=False)


ExhibitsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exhibit",
        metavar="EX1",
        help="Which exhibit; may be repeated. All that you hold by default.",
        show_default=False,
    ),
]
ImagesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--image", metavar="EX1=PATH", help="Where its image lies now; may be repeated.", show_default=False
    ),
]
SealsOption = Annotated[
    list[str] | None,
    typer.Option("--seal", metavar="NUMBER", help="Seal on it; may be repeated.", show_default=False),
]
AuthorisedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--authorised",
        metavar="'NAME <ID>'",
        help="Who else may examine it; may be repeated.",
        show_default=False,
    ),
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="'NAME <ID>'", help="Who gets it.", show_default=False)
]
BagOption = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="BAG", help="Folder to make for the bag.", show_default=False),
]
BagOnlyOption = Annotated[
    int | None,
    typer.Option(
        "--bag-only",
        metavar="LINE",
        help="Hand nothing over: make the bag of the hand-over at that line (again).",
        show_default=False,
    ),
]

WithImagesOption = Annotated[
    bool, typer.Option("--with-images", help="Put copies of the images into the bag.")
]
NotReadAgainOption = Annotated[
    bool,
    typer.Option("--not-rehashed", help="Do not read the images once more; needs --reason, and is recorded."),
]
NotThereOption = Annotated[
    bool,
    typer.Option(
        "--not-rehashed",
        help="Receive without the images that are not there; needs --reason, and is recorded.",
    ),
]
ReceiptOption = Annotated[
    str | None,
    typer.Option(
        "--receipt",
        metavar="TEXT|FILE",
        help="Receipt that came another way than the bag, such as by mail.",
        show_default=False,
    ),
]
SignersOption = Annotated[
    str | None,
    typer.Option(
        "--signers",
        metavar="FILE",
        help="List of keys whose signatures you trust (allowed_signers).",
        show_default=False,
    ),
]
ReceiptFileOption = Annotated[
    str | None,
    typer.Option(
        "-o", "--output", metavar="FILE", help="Write the receipt for the giver here.", show_default=False
    ),
]


def transfer(
    to: ToOption = None,
    output: BagOption = None,
    exhibit: ExhibitsOption = None,
    purpose: Annotated[str | None, _text("--purpose", "What for.")] = None,
    method: Annotated[str | None, _text("--method", "By hand, courier, upload …")] = None,
    place: Annotated[str | None, _text("--place", "Where.")] = None,
    condition: Annotated[str | None, _text("--condition", "Of the items and their packing.")] = None,
    seal: SealsOption = None,
    with_images: WithImagesOption = False,
    image: ImagesOption = None,
    not_rehashed: NotReadAgainOption = False,
    bag_only: BagOnlyOption = None,
    signer: SignerOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    progress: options.ProgressOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Hand exhibits over: read them once more, record it, sign the log, and make a bag with a receipt in it."""
    from imgkit.examination import handover
    from imgkit.examination.people import person

    options.check_progress(progress)
    if output is None:
        raise UsageError("a hand-over needs a folder for its bag", hint="-o BAG")
    if (to is None) == (bag_only is None):
        raise UsageError("say who gets it, or which hand-over the bag is of", hint="--to 'NAME <ID>'")
    _check_reason(not_rehashed, reason)
    if bag_only is not None:
        words = (exhibit, purpose, method, place, condition, seal, with_images, not_rehashed)
        _check_bag_only(bag_only, dict(zip(_OF_THE_HAND_OVER, words, strict=True)))
    wish, places = None, _places(image)
    if to is not None:
        wish = handover.Wish(
            to=person(to, "--to"),
            bag=output,
            exhibits=tuple(exhibit or ()),
            purpose=purpose,
            method=method,
            place=place,
            condition=condition,
            seals=seals_of(seal),
            images=places,
            rehash=not not_rehashed,
            with_images=with_images,
            signer=signer,
        )
    with (
        options.open_examination(case, examiner, None, reason) as examination,
        Progress(output, style=progress) as step,
    ):
        if wish is not None:
            document = handover.transfer(examination, wish, progress=step)
        else:
            document = handover.rebag(
                examination, bag_only or 0, output, images=places, signer=signer, progress=step
            )
    return _told_transfer(document, as_json=as_json)


def _check_bag_only(line: int, stated: dict[str, object]) -> None:
    """A bag that is made again is as the hand-over at that line has it."""
    if names := ", ".join(name for name, value in stated.items() if value):
        raise UsageError(f"--bag-only makes the bag as line {line} has it: leave {names} out")


def _told_transfer(document: Document, *, as_json: bool) -> int:
    if as_json:
        emit(document)
    verdicts = document["verdicts"]
    if document["transferred"] is None:
        for name in document["refused"]:
            notice(f"{name}: {VERDICTS.get(verdicts[name], verdicts[name])}")
        notice("nothing was handed over; to hand it over as it is: --not-rehashed --reason TEXT")
        return MISMATCH if "mismatch" in verdicts.values() else TROUBLE
    if not as_json:
        _say_person("handed over", document["transferred"], "to", document["to"])
        say(
            f"exhibits     {', '.join(document['exhibits'])}"
            + ("" if document["rehashed"] else "  NOT RE-HASHED")
        )
        say(f"bag          {document['bag']['path']}")
        say(f"receipt      {document['receipt']}")
    return 0


def receive(
    bag: Annotated[str, typer.Argument(metavar="BAG", help="Folder that was handed over.")],
    image: ImagesOption = None,
    not_rehashed: NotThereOption = False,
    receipt: ReceiptOption = None,
    signers: SignersOption = None,
    method: Annotated[str | None, _text("--method", "How it came.")] = None,
    place: Annotated[str | None, _text("--place", "Where it is now.")] = None,
    condition: Annotated[str | None, _text("--condition", "In which it arrived.")] = None,
    seal: SealsOption = None,
    authorised: AuthorisedOption = None,
    output: ReceiptFileOption = None,
    signer: SignerOption = None,
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    reason: options.ReasonOption = None,
    progress: options.ProgressOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Receive a bag: verify it and the log in it, read the images, record it in your own case, give a receipt back."""
    from imgkit.examination.people import people
    from imgkit.examination.receiving import Arrival
    from imgkit.examination.receiving import receive as take_over

    options.check_progress(progress)
    _check_reason(not_rehashed, reason)
    arrival = Arrival(
        bag=bag,
        images=_places(image),
        rehash=not not_rehashed,
        receipt=receipt,
        signers=signers,
        method=method,
        place=place,
        condition=condition,
        seals=seals_of(seal),
        authorised=tuple(people(authorised, "--authorised")),
        back=output,
        signer=signer,
    )
    with (
        options.open_examination(case, examiner, None, reason) as examination,
        Progress(bag, style=progress) as step,
    ):
        document = take_over(examination, arrival, progress=step)
    if as_json:
        emit(document)
    return _told_receive(document, quiet=as_json, wants_receipt=output is not None)


def _told_receive(document: Document, *, quiet: bool, wants_receipt: bool) -> int:
    if document["received"] is None:
        for problem in document["problems"][:20]:
            notice(problem)
        notice(
            "this is not what was handed over: nothing was received; if it was damaged on its way, its giver "
            "can make it again: imgkit case transfer --bag-only LINE"
        )
        return MISMATCH
    verdicts = [one.get("verdict") for one in document["exhibits"]]
    if not quiet:
        _say_person("received", document["received"], "from", document["from"])
        for one in document["exhibits"]:
            name = one.get("exhibit", "no exhibit here yet")
            verdict = one.get("verdict", "NOT RE-HASHED")
            say(f"{one['theirs']}: {name}, {VERDICTS.get(verdict, verdict)}")
        for text in document["warnings"]:
            say(f"their log    {text}", hang=_HANG)
        say(f"receipt      {document['receipt']}")
        say(f"{' ' * _HANG}{_where_receipt(document)}", hang=0)
    if "mismatch" in verdicts:
        return MISMATCH
    unwritten = wants_receipt and document["receipt_for_giver"] is None
    return TROUBLE if unwritten or "unreadable" in verdicts else 0


def _where_receipt(document: Document) -> str:
    giver = document["from"]["name"]
    path = document["receipt_for_giver"] or document["receipt_file"]
    return f"send this line to {giver}, who keeps it; it is in {path}"


def seals_of(numbers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the seals that are named.

    Raises:
        UsageError: One has no number.
    """
    if any(not number.strip() for number in numbers or ()):
        raise UsageError("a --seal has no number")
    return tuple(numbers or ())


def _check_reason(not_rehashed: bool, reason: str | None) -> None:
    if not_rehashed and not (reason or "").strip():
        raise UsageError("--not-rehashed needs a --reason: it is recorded and reported")


def _places(texts: Sequence[str] | None) -> dict[str, str]:
    places: dict[str, str] = {}
    for text in texts or ():
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--image takes EX1=PATH, not {text!r}")
        places[name] = path
    return places


def _say_person(what: str, line: int, word: str, person: Document) -> None:
    say(f"{what} at line {line}, {word} {person['name']} <{person['id']}>")


# command -> what runs, and an example
COMMANDS: dict[str, tuple[Any, str]] = {
    "transfer": (transfer, "imgkit case transfer --to 'Bob Roe <bob@court.example>' -o /media/usb/2026-0142"),
    "receive": (receive, "imgkit case receive /media/usb/2026-0142 --case cases/77 -o receipt.txt"),
}

"""doctor, selftest, demo: what this host can do, whether imgkit answers right on it, and a tour."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from imgkit.cli import options
from imgkit.cli.exit_codes import TROUBLE
from imgkit.cli.output import emit, say, table

Document = dict[str, Any]


def doctor(
    print_udev_rule: Annotated[
        bool, typer.Option("--print-udev-rule", help="Print the rule that keeps the host off evidence.")
    ] = False,
    as_json: options.JsonOption = False,
) -> int:
    """Show what this host can do, what each gap costs and how to close it."""
    from imgkit.doctor import examine_host, udev_rule

    if print_udev_rule and as_json:
        emit({"schema": "imgkit.doctor.v1", "udev_rule": udev_rule()})
        return 0
    if print_udev_rule:
        for line in udev_rule().splitlines():
            say(line)
        return 0
    checks = examine_host()
    if as_json:
        emit({"schema": "imgkit.doctor.v1", "checks": [asdict(item) for item in checks]})
        return 0
    table(("", "check", "found"), [("ok" if item.ok else "--", item.name, item.found) for item in checks])
    for item in checks:
        if not item.ok:
            say()
            say(f"{item.name}: {item.cost}")
            say(f"  {item.remedy}")
    return 0


def selftest(
    case: options.CaseOption = None,
    examiner: options.ExaminerOption = None,
    as_json: options.JsonOption = False,
) -> int:
    """Ask known answers of hashes, tables, a log with each tampering, and an attach where possible; recorded."""
    from imgkit.selftest import run_selftest

    with options.open_examination(case, examiner, nobody="imgkit selftest <selftest@imgkit>") as examination:
        answers = run_selftest()
        failed = [item.name for item in answers if item.ok is False]
        data = {"answers": [asdict(item) for item in answers], "failed": failed, "count": len(answers)}
        examination.event("tool.selftest", data)
        records = examination.records
    if as_json:
        emit(
            {
                "schema": "imgkit.selftest.v1",
                "answers": [asdict(item) for item in answers],
                "records": records,
            }
        )
    else:
        words = {True: "ok", False: "BAD", None: "--"}
        table(("", "answer", "detail"), [(words[item.ok], item.name, item.detail) for item in answers])
        right = sum(item.ok is True for item in answers)
        say(
            f"{right} answers are right, {len(failed)} wrong, {len(answers) - right - len(failed)} could not be asked here"
        )
    return TROUBLE if failed else 0


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the folder with image and case for a look.")
    ] = False,
    as_json: options.JsonOption = False,
) -> int:
    """Make a small image in a temporary folder and take it the whole way, saying what is done."""
    from imgkit.cli.demo import run_demo

    return run_demo(keep=keep, as_json=as_json)


# name -> the function, and an example for its --help
COMMANDS = {
    "doctor": (doctor, "sudo imgkit doctor"),
    "selftest": (selftest, "sudo imgkit selftest --case cases/validation"),
    "demo": (demo, "sudo imgkit demo"),
}

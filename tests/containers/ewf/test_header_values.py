from __future__ import annotations

import json
import subprocess
import zlib
from typing import TYPE_CHECKING

import pytest

from imgkit.containers.ewf.header_values import acquisition_facts, parse_header
from tests.containers.sets import media

if TYPE_CHECKING:
    from pathlib import Path

ENCASE_IDS = "c\tn\ta\te\tt\tav\tov\tm\tu\tp\tr"
ENCASE7_IDS = "a\tc\tn\te\tt\tmd\tsn\tl\tav\tov\tm\tu\tp\tpid\tdc\text"
XHEADER = """<?xml version="1.0" encoding="UTF-8"?>
<xheader>
\t<case_number>X&amp;1</case_number>
\t<examiner_name>Zo&#235; &lt;z&gt;</examiner_name>
\t<acquiry_operating_system>Linux</acquiry_operating_system>
\t<acquiry_date>Sat Jan 20 18:32:08 2007 CET</acquiry_date>
\t<acquiry_software>ewfacquire</acquiry_software>
\t<acquiry_software_version>20070120</acquiry_software_version>
\t<unheard_of>value</unheard_of>
</xheader>
"""


def header(values: str, ids: str = ENCASE_IDS, end: str = "\r\n", codec: str = "ascii") -> bytes:
    return zlib.compress(end.join(["1", "main", ids, values, "", ""]).encode(codec))


def header2(values: str, ids: str = ENCASE7_IDS, more: str = "") -> bytes:
    return zlib.compress(f"3\nmain\n{ids}\n{values}\n\n{more}".encode("utf-16"))


ENCASE = "C1\tE1\tdesk\tme\tsome notes\t4.20\tWindows XP\t2002 3 4 10 19 59\t2002 3 4 10 20 1\t0\tf"
ENCASE7 = "desk\tC1\tE1\tmé\tnotes\tWDC\tSN1\tlbl\t7.1\tWindows 7\t1142163845\t1142163999\t\t12\tx\t1 S 1 2 3"


def test_an_encase_header_has_dates_and_no_epoch() -> None:
    assert acquisition_facts([("header", header(ENCASE))]) == {
        "case_number": "C1",
        "evidence_number": "E1",
        "description": "desk",
        "examiner": "me",
        "notes": "some notes",
        "software_version": "4.20",
        "os": "Windows XP",
        "acquired_date": "2002 3 4 10 19 59",
        "system_date": "2002 3 4 10 20 1",
        "password": False,
        "compression": "f",
    }


def test_a_header2_has_epochs_and_no_date() -> None:
    facts = acquisition_facts([("header2", header2(ENCASE7)), ("header2", header2(ENCASE7))])
    assert facts["acquired_epoch"] == 1142163845
    assert facts["system_epoch"] == 1142163999
    assert "acquired_date" not in facts
    assert facts["examiner"] == "mé"
    assert (facts["model"], facts["serial_number"], facts["device_label"]) == ("WDC", "SN1", "lbl")
    assert (facts["process_id"], facts["extents"], facts["other"]) == ("12", "1 S 1 2 3", {"dc": "x"})
    assert facts["password"] is False
    assert "differences" not in facts
    assert "problems" not in facts


def test_a_linen_header_has_epochs_and_more_categories() -> None:
    more = "srce\n0\t1\np\tn\tid\tev\tlo\n0\t0\n\t\t7\tx1\t-1\n\nsub\n0\t1\np\tn\tid\n0\t0\n\t\t1\n\n"
    text = f"3\nmain\n{ENCASE7_IDS}\n{ENCASE7}\n\n{more}"
    facts = acquisition_facts([("header", zlib.compress(text.encode("cp1252")))])
    assert facts["acquired_epoch"] == 1142163845
    assert facts["examiner"] == "mé"
    assert facts["other"] == {"dc": "x", "srce.id": "7", "srce.ev": "x1", "sub.id": "1"}
    assert facts["problems"] == [
        "the header section states no code page and is no ASCII: read as Windows-1252"
    ]


def test_date_and_epoch_stand_beside_each_other_as_found() -> None:
    facts = acquisition_facts([("header", header(ENCASE)), ("header2", header2(ENCASE7))])
    assert facts["acquired_date"] == "2002 3 4 10 19 59"
    assert facts["acquired_epoch"] == 1142163845


def test_header2_wins_and_what_differs_is_listed() -> None:
    facts = acquisition_facts([("header", header(ENCASE)), ("header2", header2(ENCASE7))])
    assert facts["examiner"] == "mé"
    assert facts["software_version"] == "7.1"
    differences = facts["differences"]
    assert isinstance(differences, list)
    assert {"field": "examiner", "header2": "mé", "header": "me"} in differences
    assert {"field": "notes", "header2": "notes", "header": "some notes"} in differences
    assert not [item for item in differences if item["field"] == "case_number"]


def test_a_second_header_that_differs_is_listed() -> None:
    other = header(ENCASE.replace("C1", "C2"))
    facts = acquisition_facts([("header", header(ENCASE)), ("header", header(ENCASE)), ("header", other)])
    assert facts["differences"] == [{"field": "case_number", "header": "C1", "header 2": "C2"}]
    assert facts["case_number"] == "C1"


def test_an_xheader_is_read_without_an_xml_parser() -> None:
    assert acquisition_facts([("xheader", zlib.compress(XHEADER.encode()))]) == {
        "case_number": "X&1",
        "examiner": "Zoë <z>",
        "os": "Linux",
        "acquired_date": "Sat Jan 20 18:32:08 2007 CET",
        "software": "ewfacquire",
        "software_version": "20070120",
        "other": {"unheard_of": "value"},
    }


def test_a_declaration_in_an_xheader_is_refused() -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><xheader><notes>&a;</notes></xheader>'
    found = parse_header("xheader", zlib.compress(bomb.encode()))
    assert found.values == {}
    assert "declaration" in found.problems[0]


def test_references_that_are_none_stay_as_written() -> None:
    text = "<xheader><notes>&#0; &#xD800; &#x110000; &nbsp; &#x41;</notes></xheader>"
    found = parse_header("xheader", zlib.compress(text.encode()))
    assert found.values == {"notes": "&#0; &#xD800; &#x110000; &nbsp; A"}


@pytest.mark.parametrize("value", ["0123456789abcdef", "1", "x"])
def test_of_a_password_only_its_presence_is_told(value: str) -> None:
    facts = acquisition_facts([("header", header(ENCASE.replace("\t0\tf", f"\t{value}\tf")))])
    assert facts["password"] is True
    assert "0123456789abcdef" not in json.dumps(facts)


def test_a_header_with_zero_dates_states_none() -> None:
    facts = acquisition_facts([("header", header("c\t0\t0\tx", ids="c\tm\tu\tn"))])
    assert facts == {"case_number": "c", "evidence_number": "x"}


def test_a_value_of_blanks_states_nothing() -> None:
    values = " \tE1\t \t \t \tADI4.1\tWin\t \t2018 2 24 21 20 26\t0\tf"
    assert acquisition_facts([("header", header(values))]) == {
        "evidence_number": "E1",
        "software_version": "ADI4.1",
        "os": "Win",
        "system_date": "2018 2 24 21 20 26",
        "password": False,
        "compression": "f",
    }


def test_of_thousands_of_headers_only_the_first_are_read() -> None:
    many = [("header", header(ENCASE.replace("C1", f"C{number}"))) for number in range(3000)]
    facts = acquisition_facts(many)
    assert facts["problems"] == ["the set has 3000 header sections: the first 16 are read"]
    assert facts["case_number"] == "C0"
    assert len(json.dumps(facts)) < 2000


@pytest.mark.parametrize("kind", ["header", "header2", "xheader"])
def test_a_bomb_is_not_inflated(kind: str) -> None:
    found = parse_header(kind, zlib.compress(bytes(1 << 26)))
    assert found.values == {}
    assert "more than 262144 bytes" in found.problems[0]


def test_every_flip_of_a_bit_is_a_problem_or_changes_nothing() -> None:
    good = header(ENCASE)
    values = parse_header("header", good).values
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        found = parse_header("header", bytes(bad))
        assert found.problems or found.values == values


@pytest.mark.parametrize("length", [0, 1, 2, 10, 60])
def test_a_cut_section_is_a_problem(length: int) -> None:
    found = parse_header("header2", header2(ENCASE7)[:length])
    assert found.values == {}
    assert "ends before its compressed text does" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "states no values"),
        ("1", "states no values"),
        ("1\nmain", "ends within the category 'main'"),
        ("1\nmain\nc\tn\nx", "1 values for 2 identifiers"),
        ("1\nmain\nc\nx\ty", "2 values for 1 identifiers"),
        ("3\nmain\nc\nx\n\nsrce\n0\t1\np", "ends within the category 'srce'"),
        (
            "1\nmain\n" + "\t".join(f"i{n}" for n in range(999)) + "\n" + "\t".join("x" * 999),
            "more than 256 values",
        ),
    ],
)
def test_what_is_malformed_is_told(text: str, problem: str) -> None:
    assert any(problem in item for item in parse_header("header", zlib.compress(text.encode())).problems)


def test_of_very_many_categories_only_the_first_are_read() -> None:
    """80,000 of them fit one section; what each lacks must not become a sentence each, nor a sentence without end."""
    few = parse_header("header", zlib.compress(b"1\n" + b"a\n\n" * 80_000))
    assert len(few.problems) == 18
    assert "more than 16 categories" in few.problems[-2]
    (long,) = parse_header("header", zlib.compress(b"1\nmain\nc\nx\n\n" + b"a" * 200_000)).problems
    assert len(long) < 120


def test_values_that_may_stand_at_a_wrong_name_are_told() -> None:
    """A tab within the description shifts all that follows by one name."""
    found = acquisition_facts([("header", header("C1\tE1\tde\tsk\tme", ids="c\tn\ta\te"))])
    assert found["examiner"] == "sk"
    assert found["problems"] == [
        "the header section has 5 values for 4 identifiers: a value may stand at another's name"
    ]


def test_text_that_is_no_utf_16_is_told() -> None:
    data = zlib.compress(b"\xff\xfe" + "1\nmain\nc\nx".encode("utf-16-le") + b"\x00\xd8")
    found = parse_header("header2", data)
    assert found.values["c"].startswith("x")
    assert "not UTF-16" in found.problems[0]
    assert json.dumps(found.values).isascii()
    unmarked = parse_header("header2", zlib.compress("1\nmain\nc\nx\n\n".encode("utf-16-le")))
    assert unmarked.values == {"c": "x"}
    assert "no byte order mark" in unmarked.problems[0]
    assert parse_header(
        "header2", zlib.compress(b"\xfe\xff" + "1\nmain\nc\nx\n".encode("utf-16-be"))
    ).values == {"c": "x"}


FORMATS = [
    "encase1",
    "encase2",
    "encase3",
    "encase4",
    "encase5",
    "encase6",
    "encase7",
    "linen5",
    "linen6",
    "linen7",
]


@pytest.mark.parametrize("flavour", [*FORMATS, "ftk", "smart", "ewf", "ewfx"])
def test_what_ewfacquire_writes_is_read_without_a_problem(tmp_path: Path, flavour: str) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(media(65536))
    told = ["-C", "case 7", "-D", "a disk", "-E", "ex-1", "-e", "An Examiner", "-N", "a note"]
    subprocess.run(
        ["ewfacquire", "-u", "-q", "-f", flavour, *told, "-t", str(tmp_path / "x"), str(raw)],
        check=True,
        capture_output=True,
        env={"TZ": "UTC", "PATH": "/usr/bin"},
    )
    (path,) = [item for item in tmp_path.iterdir() if item != raw]
    facts = acquisition_facts(sections(path.read_bytes()))
    assert "problems" not in facts, facts
    assert facts["case_number"] == "case 7"
    assert facts["examiner"] == "An Examiner"
    assert (facts["description"], facts["evidence_number"], facts["notes"]) == ("a disk", "ex-1", "a note")
    assert "acquired_date" in facts or "acquired_epoch" in facts
    json.dumps(facts, allow_nan=False)


def sections(data: bytes) -> list[tuple[str, bytes]]:
    """The header sections of a first segment."""
    found: list[tuple[str, bytes]] = []
    at = 13
    while True:
        kind = data[at : at + 16].rstrip(b"\x00").decode()
        following = int.from_bytes(data[at + 16 : at + 24], "little")
        size = int.from_bytes(data[at + 24 : at + 32], "little")
        if kind not in {"header", "header2", "xheader"}:
            return found
        found.append((kind, data[at + 76 : at + size]))
        at = following

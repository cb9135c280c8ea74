"""A witness that agrees says nothing; one that does not is quoted."""

from __future__ import annotations

from imgkit.image import Extent
from imgkit.partitions.compare import compare
from imgkit.partitions.table import Partition, Reading


def rows(*extents: tuple[int, int]) -> tuple[Partition, ...]:
    return tuple(Partition(at + 1, at, Extent(*item), "0x83") for at, item in enumerate(extents))


def said(scheme: str, ours: tuple[Partition, ...], witness: Reading) -> list[str]:
    return [finding.message for finding in compare("witness.tsk-differs", scheme, ours, witness)]


def test_agreement_is_silent_whatever_the_numbers() -> None:
    ours = rows((512, 512), (2048, 512))
    assert said("dos", ours, Reading("W", "dos", tuple(reversed(ours)))) == []
    assert said("none", (), Reading("W", "none", refusal="no magic")) == []
    assert said("none", (), Reading("W", "dos")) == []


def test_a_refusal_is_quoted() -> None:
    assert said("gpt", rows((512, 512)), Reading("W", "none", refusal="bad magic")) == [
        "W reads no partition table (bad magic); imgkit reads gpt with 1 partition"
    ]


def test_another_scheme_with_the_same_rows_is_a_difference() -> None:
    ours = rows((512, 512))
    assert said("dos", ours, Reading("W", "gpt", ours)) == [
        "W reads gpt with 1 partition; imgkit reads dos with 1 partition"
    ]


def test_what_only_one_of_them_has_is_named_and_bounded() -> None:
    theirs = rows(*((at * 1024, 512) for at in range(1, 9)))
    (message,) = said("dos", rows((512, 99)), Reading("W", "dos", theirs))
    assert "only the witness has 512 bytes at 1024, 512 bytes at 2048" in message
    assert "and 4 more" in message
    assert "only imgkit has 99 bytes at 512" in message


def test_a_table_where_we_see_none() -> None:
    (message,) = said("none", (), Reading("W", "dos", rows((0, 512))))
    assert message.startswith("W reads dos with 1 partition; imgkit reads no table")

"""The self-test answers as it should here; and says so where something is wrong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imgkit.errors import CorruptImage
from imgkit.hashing import HASH_ALGORITHMS
from imgkit.selftest import Answer, answers, hashes, logs, run_selftest, tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imgkit.image import Image
    from imgkit.partitions.table import PartitionTable


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    folder = tmp_path_factory.mktemp("selftest")
    found = run_selftest(folder=str(folder))
    assert os.listdir(folder) == []
    return found


def test_nothing_is_answered_wrong(given: list[Answer]) -> None:
    assert [answer for answer in given if answer.ok is False] == []


def test_names_are_unique(given: list[Answer]) -> None:
    assert len({answer.name for answer in given}) == len(given)


def test_everything_is_asked(given: list[Answer]) -> None:
    names = {answer.name for answer in given}
    assert {f"hash.{algorithm}" for algorithm in HASH_ALGORITHMS} <= names
    assert {f"log.{tampering.name}" for tampering in logs.TAMPERINGS} <= names
    images = answers.known_answers()["images"]
    assert {f"{kind}.{image}" for image in images for kind in ("image", "table")} <= names


def test_every_algorithm_has_a_known_answer(given: list[Answer]) -> None:
    assert [a.name for a in given if a.name.startswith("hash.") and a.ok is None] == []


@pytest.mark.live
def test_a_device_is_attached(live: None, given: list[Answer]) -> None:
    attached = {answer.name: answer.ok for answer in given if answer.name.startswith("attach.")}
    assert attached == {"attach.read-back": True, "attach.write-refused": True, "attach.released": True}


def wrong(found: Iterator[Answer]) -> set[str]:
    return {answer.name for answer in found if answer.ok is False}


def test_a_wrong_digest_is_told(tmp_path: Path) -> None:
    known = answers.known_answers()
    known["strings"][1]["digests"]["sha256"] = "0" * 64
    known["images"]["gpt_ok"]["digests"]["md5"] = "0" * 32
    assert wrong(hashes.ask_hashes(known, str(tmp_path))) == {"hash.sha256", "image.gpt_ok"}


def test_a_wrong_table_is_told(tmp_path: Path) -> None:
    known = answers.known_answers()
    for name in known["images"]:
        (tmp_path / f"{name}.img").write_bytes(answers.known_image(name))
    known["images"]["gpt_ok"]["partitions"][0]["length"] -= 512
    known["images"]["mbr_logicals"]["findings"] = ["dos.ebr-loop"]
    assert wrong(tables.ask_tables(known, str(tmp_path))) == {"table.gpt_ok", "table.mbr_logicals"}


def test_a_verifier_that_finds_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = logs.Tampering("nothing-done", lambda lines: lines, frozenset({"CHAIN_BREAK"}))
    monkeypatch.setattr(logs, "TAMPERINGS", (honest,))
    assert wrong(logs.ask_logs({}, str(tmp_path))) == {"log.nothing-done"}


def test_an_error_is_an_answer_and_the_rest_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(image: Image) -> PartitionTable:
        raise CorruptImage(f"{image.path} cannot be read")

    monkeypatch.setattr(tables, "read_partition_table", broken)
    found = {answer.name: answer for answer in run_selftest(folder=str(tmp_path))}
    assert found["table.error"].ok is False
    assert "CorruptImage" in found["table.error"].detail
    assert found["log.true"].ok

"""The public API: every name that is promised is there, and the documented example runs."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import imgkit
from imgkit.examination import Evidence, Examination

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", imgkit.__all__)
def test_name_is_there(name: str) -> None:
    assert getattr(imgkit, name) is not None


def test_names_and_homes_agree() -> None:
    assert sorted(imgkit.__all__) == sorted([*imgkit._MODULE_OF, "__version__"])
    assert dir(imgkit) == sorted(imgkit.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="open_door"):
        _ = imgkit.open_door


def test_import_loads_nothing_heavy() -> None:
    code = "import imgkit, sys; print(sorted(m for m in ('typer', 'rich', 'pytsk3', 'blake3') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _sample(folder: Path) -> Path:
    from imgkit.selftest.answers import known_image

    image = folder / "disk.dd"
    image.write_bytes(known_image("demo"))
    return image


def test_documented_example_without_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    image = _sample(tmp_path)
    (tmp_path / "disk.dd.sha256").write_text(hashlib.sha256(image.read_bytes()).hexdigest() + "\n")
    with (
        Examination.open(examiner="Jane Doe <jane@lab.example>") as examination,
        examination.evidence(str(image)) as evidence,
    ):
        assert examination.verify(evidence).verdict == "match"
    assert imgkit.verify_log(tmp_path / "state" / "imgkit").ok


@pytest.mark.live
def test_documented_example_with_a_device(
    tmp_path: Path, live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    media = _sample(tmp_path).read_bytes()
    with imgkit.open_image(tmp_path / "disk.dd") as image:
        table = imgkit.read_partition_table(image)
        extent = table.partitions[0].extent
        with imgkit.attach(image, extent) as device:
            with open(device.device, "rb") as file:
                assert file.read() == media[extent.offset : extent.end]
            assert device.attachment.proof.read_only
    with (
        imgkit.Examination.open(examiner="Jane Doe <jane@lab.example>") as examination,
        examination.evidence(str(tmp_path / "disk.dd")) as evidence,
    ):
        number = _number_of_an_attachment_whose_block_fails(examination, evidence)
        assert all(
            item.number != number or item.log != examination.log.uuid for item in imgkit.list_attachments()
        )


def _number_of_an_attachment_whose_block_fails(examination: Examination, evidence: Evidence) -> int:
    try:
        with examination.attached(evidence, partitions=[1]) as (attached,):
            raise KeyError(attached.attachment.number)
    except KeyError as error:
        return int(error.args[0])

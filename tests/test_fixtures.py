"""The generator makes what is committed, and stock tools agree with what it claims."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imgkit.containers import open_image
from imgkit.partitions import read_partition_table
from tests.conftest import need

ROOT = Path(__file__).parent.parent
FOLDERS = ("fixtures", "imgkit/known_answers")
EXPECTED: dict[str, dict[str, Any]] = json.loads((ROOT / "fixtures/expected.json").read_bytes())
ANSWERS: dict[str, Any] = json.loads((ROOT / "imgkit/known_answers/answers.json").read_bytes())
MIB = 1 << 20


def media(name: str) -> bytes:
    return gzip.decompress((ROOT / "fixtures" / f"{name}.img.gz").read_bytes())


def stock(*argv: str, data: bytes | None = None) -> str:
    need(shutil.which(argv[0]) is not None, f"needs {argv[0]}")
    done = subprocess.run(argv, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, "-m", "fixtures.generate", str(target)], cwd=ROOT, check=True)
    return target


@pytest.mark.parametrize("folder", FOLDERS)
def test_generator_makes_what_is_committed(made: Path, folder: str) -> None:
    new = {path.name: path.read_bytes() for path in (made / folder).iterdir()}
    old = {p.name: p.read_bytes() for p in (ROOT / folder).iterdir() if p.suffix in {".gz", ".json"}}
    assert new.keys() == old.keys()
    for name, content in new.items():
        if name.endswith(".gz"):
            assert gzip.decompress(content) == gzip.decompress(old[name]), name
        else:
            assert content == old[name], name


@pytest.mark.parametrize("folder", FOLDERS)
def test_gz_tells_no_time_and_no_name(folder: str) -> None:
    headers = {path.name: path.read_bytes()[:8] for path in (ROOT / folder).glob("*.gz")}
    assert headers
    assert set(headers.values()) == {b"\x1f\x8b\x08\x00\x00\x00\x00\x00"}


def test_known_answers_are_small() -> None:
    sizes = [path.stat().st_size for path in (ROOT / "imgkit/known_answers").iterdir()]
    assert sum(sizes) < 128 * 1024


def test_readme_names_every_fixture() -> None:
    text = (ROOT / "fixtures/README.md").read_text()
    assert [name for name in EXPECTED if f"`{name}`" not in text] == []


def test_parts_make_the_whole() -> None:
    parts = sorted((ROOT / "fixtures").glob("split_raw.*.gz"))
    assert b"".join(gzip.decompress(part.read_bytes()) for part in parts) == media("mbr_logicals")


def test_ext2_is_clean_and_holds_the_note(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.write_bytes(media("gpt_ok")[MIB : 2 * MIB])
    stock("e2fsck", "-f", "-n", str(volume))
    assert stock("debugfs", "-R", "cat note.txt", str(volume)) == ANSWERS["note"]


def test_demo_disk_is_clean_and_holds_its_files(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    disk = gzip.decompress((ROOT / "imgkit/known_answers/demo.img.gz").read_bytes())
    volume.write_bytes(disk[MIB : 5 * MIB])
    stock("e2fsck", "-f", "-n", str(volume))
    assert stock("debugfs", "-R", "cat documents/letter.txt", str(volume)).startswith("Dear Jane")
    volume.write_bytes(disk[5 * MIB : 6 * MIB])
    assert stock("blkid", "-p", "-o", "value", "-s", "TYPE", str(volume)) == "swap\n"


def test_fat_is_clean(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.write_bytes(media("gpt_ok")[2 * MIB : 3 * MIB])
    assert "2 files, 1/2032 clusters" in stock("fsck.fat", "-n", str(volume))


@pytest.mark.parametrize("name", ["gpt_ok", "gpt_hybrid", "mbr_logicals", "mbr_beyond_end", "mbr_overlap"])
def test_sfdisk_reads_the_same_rows(name: str, tmp_path: Path) -> None:
    image = tmp_path / f"{name}.img"
    image.write_bytes(media(name))
    table = json.loads(stock("sfdisk", "--json", str(image)))["partitiontable"]
    seen = [(row["start"] * 512, row["size"] * 512) for row in table["partitions"] if row["type"] != "5"]
    assert seen == [(row["offset"], row["length"]) for row in EXPECTED[name]["partitions"]]


@pytest.mark.parametrize("text", ["", "abc"])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512-256", "sha3-256", "blake2b512"])
def test_openssl_gives_the_same_digests(text: str, algorithm: str) -> None:
    mine = {"sha512-256": "sha512_256", "sha3-256": "sha3_256", "blake2b512": "blake2b"}.get(
        algorithm, algorithm
    )
    known = next(entry["digests"] for entry in ANSWERS["strings"] if entry["text"] == text)
    assert stock("openssl", "dgst", "-r", f"-{algorithm}", data=text.encode()).split()[0] == known[mine]


def test_b3sum_gives_the_same_digest() -> None:
    known = ANSWERS["images"]["gpt_ok"]["digests"]["blake3"]
    assert stock("b3sum", "--no-names", data=media("gpt_ok")).strip() == known


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_imgkit_reads_what_was_made(name: str, tmp_path: Path) -> None:
    path, expected = tmp_path / f"{name}.img", EXPECTED[name]
    path.write_bytes(media(name))
    with open_image(path) as image:
        table = read_partition_table(image)
    rows = [(p.number, p.extent.offset, p.extent.length, p.type, p.name) for p in table.partitions]
    assert (table.scheme, table.sector_size) == (expected["scheme"], expected["sector_size"])
    assert rows == [
        (r["number"], r["offset"], r["length"], r["type"], r["name"]) for r in expected["partitions"]
    ]
    assert set(expected["findings"]) <= {finding.code for finding in table.findings}


@pytest.mark.parametrize("opened", ["001", "002", "003"])
def test_imgkit_joins_the_parts_whichever_is_named(opened: str, tmp_path: Path) -> None:
    for part in (ROOT / "fixtures").glob("split_raw.*.gz"):
        (tmp_path / part.stem).write_bytes(gzip.decompress(part.read_bytes()))
    with open_image(tmp_path / f"split_raw.{opened}") as image:
        assert image.read_at(0, image.size) == media("mbr_logicals")


def unpack_containers(folder: Path) -> None:
    for packed in (ROOT / "fixtures").glob("gpt_ok.*.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))


def test_ewfverify_agrees_with_the_digests_of_the_e01(tmp_path: Path) -> None:
    unpack_containers(tmp_path)
    said = stock("ewfverify", "-q", "-d", "sha1", str(tmp_path / "gpt_ok.E01"))
    assert said.count(ANSWERS["images"]["gpt_ok"]["digests"]["md5"]) == 2
    assert said.rstrip().endswith("SUCCESS")


@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vhdx", "vpc"])
def test_qemu_img_reads_the_media_of_the_containers(name: str, tmp_path: Path) -> None:
    unpack_containers(tmp_path)
    file, raw = tmp_path / f"gpt_ok.{'vhd' if name == 'vpc' else name}", tmp_path / "raw"
    stock("qemu-img", "convert", "-f", name, "-O", "raw", str(file), str(raw))
    if name != "vpc":  # no check for it
        stock("qemu-img", "check", "-f", name, str(file))
    # Of a VHD it takes the geometry, which ends before the size that the footer states.
    end = 120 * 4 * 17 * 512 if name == "vpc" else 4 * MIB
    assert raw.read_bytes() == media("gpt_ok")[:end]


@pytest.mark.parametrize("name", ["E01", "E02", "qcow2", "vmdk", "vhd", "vhdx"])
def test_imgkit_reads_the_media_of_the_containers(name: str, tmp_path: Path) -> None:
    unpack_containers(tmp_path)
    with open_image(tmp_path / f"gpt_ok.{name}") as image:
        assert image.read_at(0, image.size) == media("gpt_ok")

"""RFC 6962 roots and paths, held against the recursive definition and the vectors of Certificate Transparency."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgkit.custody.merkle import MerkleTree, inclusion_path, leaf_hash, root_from_path, root_of

# Leaves and roots of the test suite of certificate-transparency (merkletree/merkle_tree_test.cc).
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                            "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH of the RFC, as it is written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:half]) + by_definition(leaves[half:])).digest()


def test_vectors_of_certificate_transparency() -> None:
    tree = MerkleTree()
    assert tree.root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.add(leaf)
        assert tree.root().hex() == root


@given(st.lists(st.binary(max_size=5), max_size=70))
def test_every_size_as_the_definition_has_it(lines: list[bytes]) -> None:
    tree = MerkleTree()
    for count, line in enumerate(lines, 1):
        tree.add(line)
        assert tree.root() == by_definition(lines[:count])
    assert tree.root() == root_of(leaf_hash(line) for line in lines)
    assert tree.size == len(lines)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 100])
def test_a_path_proves_its_line_at_its_place_and_no_other(size: int) -> None:
    lines = [b"line %d\n" % number for number in range(size)]
    leaves = [leaf_hash(line) for line in lines]
    root = by_definition(lines)
    for index in range(size):
        path = inclusion_path(leaves, index)
        assert root_from_path(leaves[index], index, size, path) == root
        assert root_from_path(leaf_hash(b"another\n"), index, size, path) != root
        for other in {0, index - 1, index + 1, size - 1, size} - {index}:
            assert root_from_path(leaves[index], other, size, path) != root
        assert root_from_path(leaves[index], index, size, [*path, root]) != root
        if path:
            assert root_from_path(leaves[index], index, size, path[:-1]) != root
            assert root_from_path(leaves[index], index, size, [*path[:-1], b"\0" * 32]) != root

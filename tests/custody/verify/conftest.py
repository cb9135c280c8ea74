"""Keys and an authority for the tests of the verifier, made once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need
from tests.custody.verify.sealed import Authority, Key, new_authority, new_key

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(shutil.which("ssh-keygen") is not None, "needs ssh-keygen")
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="session")
def jane(keyring: Path) -> Key:
    """The examiner's key."""
    return new_key(keyring, "jane")


@pytest.fixture(scope="session")
def mallory(keyring: Path) -> Key:
    """Somebody else's key, who says to be the examiner."""
    return new_key(keyring, "mallory")


@pytest.fixture(scope="session")
def signers(keyring: Path, jane: Key) -> Path:
    """Whom the verifier trusts: nobody but the examiner."""
    path = keyring / "signers"
    path.write_text(jane.listed())
    return path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    need(shutil.which("openssl") is not None, "needs openssl")
    return new_authority(tmp_path_factory.mktemp("authority"), "tsa.example")

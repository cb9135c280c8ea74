"""Images to measure with, and the tables: printed at the end, and put into docs/performance.md where asked to."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.measuring import ROOT, RUNS, Table, environment

if TYPE_CHECKING:
    from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30
TABLES = pytest.StashKey[list[Table]]()
MARK = "## Last run\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-docs", action="store_true", help="put the tables into docs/performance.md")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLES] = []


def machine() -> str:
    kernel, python = platform.release(), platform.python_version()
    return f"{os.cpu_count()} cores, {platform.machine()}, Linux {kernel}, Python {python}; median of {RUNS} runs.\n"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tables = config.stash[TABLES]
    if not tables:
        return
    text = machine() + "\n" + "\n".join(str(table) for table in tables)
    terminalreporter.write_line("\n" + text)
    if config.getoption("--write-docs", default=False):
        page = ROOT / "docs/performance.md"
        page.write_text(page.read_text().partition(MARK)[0] + MARK + "\n" + text)


@pytest.fixture
def tables(request: pytest.FixtureRequest) -> list[Table]:
    """Where a benchmark puts its table."""
    return request.config.stash[TABLES]


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="session")
def variables(work: Path) -> dict[str, str]:
    return environment(work)


def random_file(path: Path, size: int) -> Path:
    """Bytes that no file system and no hash can shorten; in the page cache afterwards."""
    with path.open("wb") as file:
        for _ in range(size // (16 * MIB)):
            file.write(os.urandom(16 * MIB))
    return path


@pytest.fixture(scope="session")
def gigabyte(work: Path) -> Path:
    return random_file(work / "gigabyte.dd", GIB)


@pytest.fixture(scope="session")
def four_gigabytes(work: Path, gigabyte: Path) -> Path:
    """The same gigabyte four times: BLAKE3 does not look for repetitions."""
    path = work / "four.dd"
    with path.open("wb") as file:
        for _ in range(4):
            with gigabyte.open("rb") as part:
                while piece := part.read(16 * MIB):
                    file.write(piece)
    return path

"""What a kill, a full disk or a failing one may do to a hand-over: record, checkpoint, receipt and bag, in this order.

Whatever came between: the log verifies, no bag is there that is not whole, and a hand-over that is recorded gets its bag.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from imgkit.custody.bag_check import check_bag
from imgkit.custody.possession import Person
from imgkit.custody.verify import verify_log
from imgkit.errors import ImgkitError
from imgkit.examination import Examination
from imgkit.examination.casework import add_exhibit, new_case
from imgkit.examination.handover import Wish, rebag, transfer
from imgkit.examination.presence import be_present
from imgkit.examination.receiving import Arrival, receive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.custody.conftest import Traced

    Trace = Callable[..., Traced]

BOB = Person("Bob Roe", "bob@court.example")
CALLS = "write,fsync,renameat2"


class World:
    """Two people, each with a case and a memory; saved() and back() put everything back as it was."""

    def __init__(self, base: Path) -> None:
        self.now, self.kept = base / "now", base / "kept"
        self.now.mkdir()
        (self.now / "disk.dd").write_bytes(b"evidence" * 512)
        for who in ("Jane Doe <jane@lab>", f"{BOB.name} <{BOB.id}>"):
            name = who.split(maxsplit=1)[0]
            presence = be_present(examiner=who, argv=[], ask=None, environ=self.environ(who))
            new_case(presence, str(self.now / name), {"number": "7"})

    def environ(self, who: str) -> dict[str, str]:
        home = self.now / f"home-{who.split(maxsplit=1)[0]}"
        return {"HOME": str(home), "XDG_STATE_HOME": str(home), "XDG_CONFIG_HOME": str(home)}

    def at(self, who: str, notify: Callable[[str], object] = bool) -> Examination:
        return Examination.open(
            case=str(self.now / who.split(maxsplit=1)[0]),
            examiner=who,
            argv=[],
            notify=notify,
            environ=self.environ(who),
        )

    def keep(self) -> None:
        shutil.copytree(self.now, self.kept)

    def back(self) -> None:
        """The same files at the same paths; only their inodes are others, and nothing here looks at those."""
        shutil.rmtree(self.now)
        shutil.copytree(self.kept, self.now)


JANE = "Jane Doe <jane@lab>"
ROE = f"{BOB.name} <{BOB.id}>"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    with made.at(JANE) as examination:
        add_exhibit(examination, str(made.now / "disk.dd"), {})
    return made


def giving(world: World) -> Callable[[], int]:
    def act() -> int:
        try:
            with world.at(JANE) as examination:
                wish = Wish(BOB, str(world.now / "bag"), with_images=True)
                return 0 if transfer(examination, wish)["transferred"] else 1
        except ImgkitError:
            return 3

    return act


def taking(world: World) -> Callable[[], int]:
    def act() -> int:
        try:
            with world.at(ROE) as examination:
                return 0 if receive(examination, Arrival(str(world.now / "bag")))["received"] else 1
        except ImgkitError:
            return 3

    return act


def faults(run: Traced) -> list[tuple[str, str, int]]:
    """Every third call of each kind, killed and failing: each run takes a while under strace."""
    counts = Counter(line.split(None, 1)[1].partition("(")[0] for line in run.calls)
    kinds = (
        ("signal=KILL", "fsync", 3),
        ("signal=KILL", "renameat2", 1),
        ("error=ENOSPC", "write", 3),
        ("error=EIO", "fsync", 4),
    )
    return [(fault, call, n) for fault, call, step in kinds for n in range(1, counts[call] + 1, step)]


def lines_of(world: World, who: str, kind: str) -> list[dict[str, Any]]:
    with world.at(who) as examination:
        return [record for record in examination.log.records() if record["type"] == kind]


def test_handing_over(world: World, tracer: Trace) -> None:
    world.keep()
    run = tracer(giving(world), calls=CALLS)
    assert run.code == 0
    for fault, call, number in faults(run):
        world.back()
        code = tracer(giving(world), inject=f"{call}:{fault}:when={number}", calls=CALLS).code
        assert code in ((-9,) if "KILL" in fault else (0, 3)), (fault, call, number)
        bag = world.now / "bag"
        given = lines_of(world, JANE, "custody.transferred")
        assert not bag.exists() or (given and check_bag(str(bag)).problems == ())
        assert code != 0 or bag.exists()
        if given and not bag.exists():
            with world.at(JANE) as examination:
                rebag(examination, given[0]["seq"], str(bag), images={})
        assert verify_log(world.now / "Jane").failed is False
        if given:
            assert verify_log(bag / "data/case").failed is False
            assert (bag / "data/images/EX1/disk.dd").read_bytes() == (world.now / "disk.dd").read_bytes()


def test_receiving(world: World, tracer: Trace) -> None:
    assert giving(world)() == 0
    world.keep()
    run = tracer(taking(world), calls=CALLS)
    assert run.code == 0
    for fault, call, number in faults(run):
        world.back()
        code = tracer(taking(world), inject=f"{call}:{fault}:when={number}", calls=CALLS).code
        assert code in ((-9,) if "KILL" in fault else (0, 3)), (fault, call, number)
        arrived = lines_of(world, ROE, "custody.received")
        assert code != 0 or len(arrived) == 1
        if not arrived:
            assert taking(world)() == 0
        assert verify_log(world.now / "Bob").failed is False
        assert check_bag(str(world.now / "bag")).problems == ()


def test_the_images_are_left_as_they_were(world: World) -> None:
    before = os.stat(world.now / "disk.dd")
    assert giving(world)() == 0
    after = os.stat(world.now / "disk.dd")
    times = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_atime_ns", "st_ino")
    assert [getattr(before, key) for key in times] == [getattr(after, key) for key in times]


def test_interrupted_while_the_bag_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_words: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("imgkit.examination.handover.make_bag", interrupted)
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt), world.at(JANE, told.append) as examination:
        transfer(examination, Wish(BOB, str(world.now / "bag")))
    (given,) = lines_of(world, JANE, "custody.transferred")
    said = [
        text for text in told if text.startswith(f"the hand-over is recorded at line {given['seq']}, but it ")
    ]
    assert f"--bag-only {given['seq']}" in said[0]


def test_a_bag_that_will_hardly_fit_is_told_of_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    class Little:
        f_bavail, f_frsize = 1, 512

    monkeypatch.setattr(os, "statvfs", lambda _path: Little)
    told: list[str] = []
    with world.at(JANE, told.append) as examination:
        transfer(examination, Wish(BOB, str(world.now / "bag"), with_images=True))
    said = [number for number, text in enumerate(told) if "has 512 free: name another place" in text]
    assert said == [0]

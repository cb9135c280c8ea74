"""Who holds what: every way through the life of an exhibit, and every act that does not fit it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgkit.custody.possession import HANDLING, Origin, Person, Possession, State

LOG, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
JANE, BOB, CAROL = ({"name": name, "id": f"{name.lower()}@lab"} for name in ("Jane", "Bob", "Carol"))


class Story:
    """Feeds a Possession, line by line, and keeps what it says."""

    def __init__(self, *, kind: str = "case.opened") -> None:
        self.possession = Possession()
        self.gaps: list[tuple[int, str]] = []
        self.line = itertools.count(1)
        self.event(kind, JANE, {})

    def see(self, **record: Any) -> int:
        seq = next(self.line)
        self.gaps += self.possession.see({"seq": seq, "log": LOG, **record})
        return seq

    def event(self, kind: str, who: dict[str, str], data: Any, **fields: Any) -> int:
        return self.see(type=kind, phase="event", actor=who, data=data, **fields)

    def act(self, kind: str, who: dict[str, str], exhibit: str, *, result: str = "ok", **data: Any) -> int:
        op = f"op{kind}{exhibit}{who['id']}"
        common = {"type": kind, "actor": who, "exhibit": exhibit, "data": data, "op": op}
        line = self.see(phase="intent", **common)
        self.see(phase="outcome", result=result, **common)
        return line

    def add(self, who: dict[str, str], exhibit: str = "EX1", **data: Any) -> int:
        return self.act("evidence.added", who, exhibit, **data)

    def give(self, who: dict[str, str], to: dict[str, str], *exhibits: str, **data: Any) -> int:
        listed = [{"exhibit": name} for name in exhibits or ("EX1",)]
        return self.event("custody.transferred", who, {"to": to, "exhibits": listed, **data})

    def receive(self, who: dict[str, str], *exhibits: str, log: str = LOG, **data: Any) -> int:
        listed = [{"exhibit": name} for name in exhibits or ("EX1",)]
        return self.event("custody.received", who, {"offer": {"log": log}, "exhibits": listed, **data})


@pytest.fixture
def story() -> Story:
    told = Story()
    told.add(JANE)
    return told


@pytest.mark.parametrize("kind", sorted(HANDLING))
def test_holder_may_do_everything_and_nobody_else_anything(story: Story, kind: str) -> None:
    story.act(kind, JANE, "EX1")
    assert story.gaps == []
    line = story.act(kind, BOB, "EX1")
    assert [gap[0] for gap in story.gaps] == [line]
    assert "Bob <bob@lab>" in story.gaps[0][1]
    assert "is held by Jane <jane@lab> since line 2" in story.gaps[0][1]


def test_authorised_examiners_are_known_by_their_id() -> None:
    story = Story()
    story.add(JANE, authorised=[{"name": "Robert", "id": " BOB@lab"}])
    story.act("evidence.attached", BOB, "EX1")
    assert story.gaps == []
    story.act("evidence.attached", CAROL, "EX1")
    assert len(story.gaps) == 1


@pytest.mark.parametrize("kind", ["evidence.detached", "evidence.unmounted", "evidence.unexposed"])
def test_taking_down_is_everybodys(story: Story, kind: str) -> None:
    story.act(kind, BOB, "EX1")
    assert story.gaps == []


def test_hand_over_within_one_log(story: Story) -> None:
    story.give(JANE, BOB)
    story.receive(BOB)
    story.act("evidence.verified", BOB, "EX1")
    assert story.gaps == []
    line = story.act("evidence.verified", JANE, "EX1")
    assert [gap[0] for gap in story.gaps] == [line]


def test_between_offer_and_arrival_nobody_may_act(story: Story) -> None:
    offer = story.give(JANE, BOB)
    lines = [story.act("evidence.attached", who, "EX1") for who in (JANE, BOB)]
    assert [gap[0] for gap in story.gaps] == lines
    assert f"handed over to Bob <bob@lab> at line {offer}" in story.gaps[0][1]


@pytest.mark.parametrize("kind", ["evidence.hashed", "evidence.verified"])
def test_on_the_way_giver_and_receiver_look_whether_it_is_the_same(story: Story, kind: str) -> None:
    story.give(JANE, BOB)
    story.act(kind, BOB, "EX1")
    story.act(kind, JANE, "EX1")
    assert story.gaps == []
    line = story.act(kind, CAROL, "EX1")
    assert [gap[0] for gap in story.gaps] == [line]


def test_received_by_another_than_it_was_offered_to(story: Story) -> None:
    story.give(JANE, BOB)
    line = story.receive(CAROL)
    assert [gap[0] for gap in story.gaps] == [line]
    story.act("evidence.hashed", CAROL, "EX1")
    assert len(story.gaps) == 1


def test_received_without_an_offer(story: Story) -> None:
    line = story.receive(BOB)
    assert [gap[0] for gap in story.gaps] == [line]
    assert "without having been offered" in story.gaps[0][1]


@pytest.mark.parametrize(("who", "gaps"), [(JANE, 0), (BOB, 1)])
def test_received_from_another_log(story: Story, who: dict[str, str], gaps: int) -> None:
    story.receive(who, log=OTHER)
    assert len(story.gaps) == gaps
    assert story.possession.exhibits["EX1"].holder.id == who["id"]


def test_what_went_away_comes_back_by_another_log(story: Story) -> None:
    story.give(JANE, BOB)
    story.receive(JANE, log=OTHER)
    story.act("evidence.hashed", JANE, "EX1")
    assert story.gaps == []


def test_the_place_of_a_hand_over_is_not_where_the_exhibit_is(story: Story) -> None:
    story.event("custody.stored", JANE, {"exhibits": ["EX1"], "place": "shelf"})
    story.give(JANE, BOB, place="station yard")
    assert story.possession.exhibits["EX1"].place is None
    story.receive(BOB)
    assert story.possession.exhibits["EX1"].place is None
    story.receive(BOB, place="safe")
    assert story.possession.exhibits["EX1"].place == "safe"


def test_received_once_more_by_the_holder_is_no_gap(story: Story) -> None:
    story.give(JANE, BOB)
    story.receive(BOB)
    story.receive(BOB)
    assert story.gaps == []
    line = story.receive(JANE)
    assert [gap[0] for gap in story.gaps] == [line]


def test_who_authorises_without_being_entitled_authorises_nobody(story: Story) -> None:
    story.event("custody.stored", BOB, {"exhibits": ["EX1"], "place": "shelf", "authorised": [BOB]})
    line = story.act("evidence.hashed", BOB, "EX1")
    assert len(story.gaps) == 2
    assert story.gaps[-1][0] == line
    assert story.possession.exhibits["EX1"].place == "shelf"


def test_handed_over_in_the_name_of_the_holder_by_somebody_else(story: Story) -> None:
    line = story.event("custody.transferred", CAROL, {"from": JANE, "to": BOB, "exhibits": ["EX1"]})
    assert [gap[0] for gap in story.gaps] == [line]
    assert "handed over by Carol" in story.gaps[0][1]


def test_what_an_exhibit_was_elsewhere_is_known() -> None:
    """Received from one log and then from another: what it was there, and before that; this log itself is left out."""
    story = Story()
    story.add(JANE)
    first = [{"log": "far", "exhibit": "EX7"}, {"log": LOG, "exhibit": "EX1"}, 7, {"log": 7}]
    item = {"exhibit": "EX1", "theirs": "EX3", "origins": first}
    story.event("custody.received", JANE, {"offer": {"log": OTHER}, "exhibits": [item]})
    assert story.possession.exhibits["EX1"].origins == (Origin("far", "EX7"), Origin(OTHER, "EX3"))


def test_handed_over_by_somebody_who_does_not_hold_it(story: Story) -> None:
    line = story.give(CAROL, BOB)
    assert [gap[0] for gap in story.gaps] == [line]


def test_handed_over_twice(story: Story) -> None:
    story.give(JANE, BOB)
    line = story.give(JANE, CAROL)
    assert [gap[0] for gap in story.gaps] == [line]


def test_after_disposal_everything_is_a_gap(story: Story) -> None:
    disposed = story.event("custody.disposed", JANE, {"method": "shredded"}, exhibit="EX1")
    assert story.gaps == []
    lines = [
        story.act("evidence.hashed", JANE, "EX1"),
        story.give(JANE, BOB),
        story.event("custody.stored", JANE, {"place": "safe"}, exhibit="EX1"),
        story.event("custody.disposed", JANE, {}, exhibit="EX1"),
    ]
    assert [gap[0] for gap in story.gaps] == lines
    assert f"was disposed of at line {disposed}" in story.gaps[0][1]


def test_a_disposed_exhibit_does_not_come_back_by_being_received(story: Story) -> None:
    story.event("custody.disposed", JANE, {}, exhibit="EX1")
    story.receive(JANE)
    assert len(story.gaps) == 1
    assert story.possession.exhibits["EX1"].state is State.DISPOSED


def test_storing_keeps_the_holder_and_learns_place_seals_and_examiners(story: Story) -> None:
    data = {"place": "safe 2", "seals": ["A1", "A2"], "authorised": [CAROL]}
    story.event("custody.stored", JANE, data, exhibit="EX1")
    story.act("evidence.hashed", CAROL, "EX1")
    custody = story.possession.exhibits["EX1"]
    assert (custody.place, custody.seals, custody.holder.id) == ("safe 2", ("A1", "A2"), "jane@lab")
    line = story.event("custody.stored", BOB, {"place": "desk"}, exhibit="EX1")
    assert [gap[0] for gap in story.gaps] == [line]


def test_authorised_by_the_giver_is_not_authorised_by_the_receiver() -> None:
    story = Story()
    story.add(JANE, authorised=[CAROL])
    story.give(JANE, BOB)
    story.receive(BOB)
    story.act("evidence.hashed", CAROL, "EX1")
    assert len(story.gaps) == 1


def test_working_copies_are_free(story: Story) -> None:
    story.add(JANE, "EX2", copy_of="EX1")
    story.act("evidence.attached", BOB, "EX2")
    story.give(CAROL, BOB, "EX2")
    assert story.gaps == []
    assert story.possession.copies("EX1") == ["EX2"]


def test_a_copy_of_nothing_or_of_a_copy_is_an_original(story: Story) -> None:
    story.add(JANE, "EX2", copy_of="EX9")
    story.add(JANE, "EX3", copy_of="EX3")
    story.act("evidence.attached", BOB, "EX2")
    story.act("evidence.attached", BOB, "EX3")
    assert len(story.gaps) == 2


def test_several_exhibits_in_one_hand_over(story: Story) -> None:
    story.add(BOB, "EX2")
    line = story.give(JANE, CAROL, "EX1", "EX2")
    assert [gap[0] for gap in story.gaps] == [line]
    assert "EX2" in story.gaps[0][1]


def test_a_failed_addition_is_no_exhibit() -> None:
    story = Story()
    story.add(JANE, result="failed")
    assert story.possession.exhibits == {}
    story.add(BOB)
    assert story.possession.exhibits["EX1"].holder.id == "bob@lab"


def test_of_two_additions_at_once_the_earlier_line_has_the_name() -> None:
    story = Story()
    fields = {"type": "evidence.added", "exhibit": "EX1", "data": {}}
    story.see(phase="intent", actor=JANE, op="a", **fields)
    story.see(phase="intent", actor=BOB, op="b", **fields)
    story.see(phase="outcome", actor=BOB, op="b", result="failed", **fields)
    story.see(phase="outcome", actor=JANE, op="a", result="ok", **fields)
    assert story.possession.exhibits["EX1"].holder.id == "jane@lab"


def test_an_own_log_knows_no_possession() -> None:
    story = Story(kind="log.opened")
    story.add(JANE)
    story.act("evidence.hashed", BOB, "EX1")
    assert story.gaps == []
    assert story.possession.exhibits == {}


@pytest.mark.parametrize("kind", [None, 7, [], {}, "custody.invented"])
def test_a_type_that_is_none(story: Story, kind: Any) -> None:
    story.see(type=kind, phase="event", actor=BOB, data={"exhibits": ["EX1"]})
    assert story.gaps == []


def test_hostile_names_stay_on_one_line_and_short(story: Story) -> None:
    story.act("evidence.hashed", {"name": "x\n\x1b[31m\u202e" + "y" * 5000, "id": "z"}, "EX1")
    text = story.gaps[0][1]
    assert text.isprintable()
    assert len(text) < 500


def test_one_person_is_one_id() -> None:
    assert Person("Jane", "JANE@lab ").is_same(Person("J. Doe", "jane@LAB"))
    assert not Person("Jane", "jane@lab").is_same(Person("Jane", "jane@home"))


_ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(["EX1", LOG])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["to", "from", "offer", "log", "exhibits", "exhibit", "name", "id", "authorised",
                             "seals", "place", "copy_of"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip
_KINDS = st.sampled_from(
    ["custody.transferred", "custody.received", "custody.stored", "custody.disposed", "evidence.added",
     "evidence.hashed", "case.opened"]
)  # fmt: skip


@given(
    st.lists(st.tuples(_KINDS, st.sampled_from(["event", "intent", "outcome"]), _ANY, _ANY, _ANY), max_size=8)
)
def test_nothing_in_a_record_makes_it_raise(records: list[tuple[str, str, Any, Any, Any]]) -> None:
    story = Story()
    story.add(JANE)
    for kind, phase, who, data, exhibit in records:
        story.see(type=kind, phase=phase, actor=who, data=data, exhibit=exhibit, op="o", result="failed")
    assert all(line > 1 and text.isprintable() for line, text in story.gaps)

"""Which cards there are and which may be given out."""

from __future__ import annotations

from typing import Any

import pytest

from gflow import config
from gflow.supervisor.card import EXEMPTION, RESTRICTION, Cards, Release

GIB = 1 << 30


def settings(**changes: Any) -> dict[str, Any]:
    return {**config.defaults()["gpus"], "claim": False, **changes}


def facts(uuid: str, **changes: Any) -> dict[str, Any]:
    """What the driver says about an idle card."""
    return {
        "uuid": uuid,
        "name": "Card",
        "memory_bytes": 24 * GIB,
        "used_bytes": 0,
        "processes": [],
        "faults": [],
        "claimed": None,
        **changes,
    }


def process(pid: int = 9, **changes: Any) -> dict[str, Any]:
    return {
        "pid": pid,
        "alive": True,
        "job_id": None,
        "start_ticks": 100,
        "uid": 1000,
        "name": "python",
        "started_at": 0.0,
        "memory_bytes": GIB,
        **changes,
    }


def known(*reported: dict[str, Any], **changes: Any) -> Cards:
    cards = Cards(settings(**changes), asked=True, user_name=lambda uid: f"user{uid}")
    cards.report(reported, [])
    return cards


def reason(cards: Cards, index: int = 0, holders: dict[int, set[int]] | None = None) -> str | None:
    found = cards.cards(holders or {})
    assert found is not None
    return next(card.unusable for card in found if card.index == index)


def test_unknown_until_the_driver_answers() -> None:
    """Before the first answer nothing is known, simulated cards included."""
    cards = Cards(settings(simulated=1), asked=True)
    assert cards.cards({}) is None
    cards.absent()
    assert [card.name for card in cards.cards({}) or ()] == ["simulated"]


def test_declared_cards() -> None:
    """A declared number is what there is, whatever a driver says."""
    cards = known(facts("A"), count=2, memory_bytes=GIB, simulated=1)
    found = cards.cards({})
    assert [(c.index, c.memory_bytes, c.uuid) for c in found or ()] == [
        (0, GIB, None),
        (1, GIB, None),
        (2, GIB, None),
    ]


def test_index_stays_with_the_card() -> None:
    """A card keeps its index when another goes; jobs are told the driver's number of now."""
    cards = known(facts("A"), facts("B"))
    cards.report([facts("B")], [])
    assert reason(cards, 0) == "it has disappeared"
    assert reason(cards, 1) is None
    assert cards.visible((1,)) == "0"
    cards.report([facts("A"), facts("B"), facts("C")], [])
    assert [card.uuid for card in cards.cards({}) or ()] == ["A", "B", "C"]
    assert cards.visible((1, 2)) == "1,2"


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (facts("A", processes=[process()]), "busy: process 9 (python) of user1000 since 1970-01-0"),
        (facts("A", processes=[process(), process(8)]), "and 1 more"),
        (facts("A", processes=[process(uid=None, alive=False)]), "busy: process 9"),
        (facts("A", processes=[process(job_id=5)]), "job 5 uses it without holding it"),
        (facts("A", used_bytes=3 * GIB), "busy: 3.0 GiB of its memory in use, by nobody"),
        (facts("A", faults=["Xid 79"]), "quarantined: Xid 79"),
        (facts("A", claimed="another supervisor gives it out"), "another supervisor"),
    ],
)
def test_kept_back(card: dict[str, Any], words: str) -> None:
    """Each reason that keeps a card back is said."""
    assert words in str(reason(known(card)))


@pytest.mark.parametrize(
    "card",
    [
        facts("A", processes=[process(name="Xorg")], used_bytes=GIB),
        facts("A", used_bytes=100 << 20),
        facts("A", used_bytes=9 * GIB, processes=[process(name="Xorg", memory_bytes=None)]),
    ],
)
def test_given_out(card: dict[str, Any]) -> None:
    """Ignored processes and what an idle card uses keep nothing back."""
    assert reason(known(card)) is None


def test_holders_own_processes() -> None:
    """What its holder does with a card is no reason to keep it back (it may be shared)."""
    cards = known(facts("A", used_bytes=9 * GIB, processes=[process(job_id=5)]))
    assert reason(cards, holders={0: {5}}) is None
    assert "job 5 uses it" in str(reason(cards, holders={0: {6}}))


def test_quarantine_by_name() -> None:
    """The configuration names cards by index or by how their UUID begins."""
    reported = (facts("GPU-1"), facts("GPU-2"), facts("GPU-3"))
    cards = known(*reported, quarantine=["0", "GPU-2"])
    assert [bool(card.unusable) for card in cards.cards({}) or ()] == [True, True, False]


def test_told_once_and_remembered() -> None:
    """An Xid keeps its card back until the configuration is read again."""
    cards = known(facts("A", faults=["Xid 79"]))
    cards.report([facts("A")], [])
    assert reason(cards) == "quarantined: Xid 79"
    cards.configure(settings())
    assert reason(cards) is None


def test_health_checks_can_be_off() -> None:
    """Faults keep nothing back when nobody wants to know."""
    assert reason(known(facts("A", faults=["Xid 79"]), health_checks=False)) is None


def test_failing_driver() -> None:
    """While the driver fails, its cards are kept back with its words."""
    cards = known(facts("A"))
    cards.failed("Unknown Error")
    assert reason(cards) == "the driver fails: Unknown Error"
    cards.report([facts("A")], [])
    assert reason(cards) is None


@pytest.mark.parametrize(
    ("look", "release"),
    [
        ({"used_bytes": 0, "processes": []}, Release.FREE),
        ({"used_bytes": 9 * GIB, "processes": []}, Release.PENDING),
        ({"used_bytes": GIB, "processes": [process(alive=False)]}, Release.PENDING),
        ({"used_bytes": GIB, "processes": [process()]}, Release.TAKEN),
        ({"used_bytes": GIB, "processes": [process(name="Xorg")]}, Release.FREE),
    ],
)
def test_release(look: dict[str, Any], release: Release) -> None:
    """A card is free again when its memory is and nobody else is on it."""
    cards = known(facts("A", used_bytes=9 * GIB, processes=[process(job_id=5)]))
    cards.looked([{"uuid": "A", **look}])
    assert cards.release("A", {}) is release


def test_release_of_a_shared_card() -> None:
    """Memory of those who stay is not waited for."""
    cards = known(facts("A", used_bytes=9 * GIB, processes=[process(job_id=6)]))
    assert cards.release("A", {0: {6}}) is Release.FREE


def test_doubt_lasts_until_the_next_report() -> None:
    """A card whose release could not be seen is kept back until the driver has spoken."""
    cards = known(facts("A"))
    cards.doubt(0, "who knows")
    assert reason(cards) == "who knows"
    cards.report([facts("A")], [])
    assert reason(cards) is None


def test_topology() -> None:
    """Groups of neighbours are told in indices."""
    cards = known(facts("A"), facts("B"), facts("C"), facts("D"))
    cards.report([facts(name) for name in "ABCD"], [["A", "C"], ["B", "D"]])
    assert cards.topology == ((0, 2), (1, 3))


def test_remembered_over_a_restart() -> None:
    """An index stays with its card when another has gone while nobody looked."""
    before = known(facts("A"), facts("B"))
    assert before.take_changes() == ["A", "B"] and before.take_changes() == []
    cards = Cards(settings(), asked=True)
    for uuid in before.known():
        record = before.record(uuid)
        assert record is not None
        cards.restore(uuid, record)
    assert cards.cards({}) is None
    cards.report([facts("B")], [])
    assert reason(cards, 0) == "it has disappeared" and reason(cards, 1) is None
    assert cards.visible((1,)) == "0"


def test_forgotten() -> None:
    """A remembered card that is not there is forgotten, unless a job still holds it."""
    cards = Cards(settings(), asked=True)
    for index, uuid in enumerate("AB"):
        cards.restore(uuid, {"index": index, "name": None, "memory_bytes": 1})
    cards.report([facts("C")], [])
    cards.take_changes()
    cards.forget_absent({1: {7}})
    assert cards.take_changes() == ["A"]
    assert cards.record("A") is None
    assert [(card.index, card.uuid) for card in cards.cards({}) or ()] == [(1, "B"), (2, "C")]


def test_quarantine_until_settings_are_read_again() -> None:
    """Whatever kind of card it is; the reason is said."""
    cards = known(facts("A"), simulated=1)
    for index in (0, 1):
        cards.quarantine(index, "its prolog failed")
    assert {card.unusable for card in cards.cards({}) or ()} == {"quarantined: its prolog failed"}
    cards.configure(settings(simulated=1))
    assert {card.unusable for card in cards.cards({}) or ()} == {None}


def test_only_allowed_cards_are_given_out() -> None:
    """Declared ones as well; names of no card mean nothing, so they keep none back."""
    cards = Cards(settings(count=3, allowed=["2", "0"]), asked=False)
    assert [card.index for card in cards.cards({}) or () if card.unusable is None] == [0, 2]
    cards = Cards(settings(count=3, allowed=["7"]), asked=False)
    assert all(card.unusable is None for card in cards.cards({}) or ())


def test_declared_cards_are_claimed() -> None:
    """They are kept back until nobody else gives them out; only allowed ones are asked for."""
    cards = Cards(settings(count=3, claim=True, allowed=["0", "1"]), asked=False)
    assert cards.to_claim() == ["declared-0", "declared-1"]
    assert "not known yet" in (reason(cards) or "")
    cards.claimed({"declared-0": None, "declared-1": "another supervisor gives it out"})
    assert reason(cards) is None
    assert reason(cards, 1) == "another supervisor gives it out"


def test_split_card_without_parts() -> None:
    """It is not given out as a whole, and says why."""
    assert "MIG" in (reason(known(facts("GPU-a", split=True))) or "")


def test_parts_are_shown_by_uuid() -> None:
    """CUDA has no number for a part; beside one, whole cards are named as well."""
    cards = known(facts("MIG-a"), facts("GPU-b"))
    assert cards.visible([0, 1]) == "MIG-a,GPU-b"
    assert known(facts("GPU-a"), facts("GPU-b")).visible([1]) == "1"


def test_a_choice_at_run_time_wins_and_is_remembered() -> None:
    """None brings the settings' choice back."""
    cards = Cards(settings(count=3, allowed=["1"]), asked=False)
    cards.restrict((0, 2))
    assert cards.take_changes() == [RESTRICTION]
    again = Cards(settings(count=3, allowed=["1"]), asked=False)
    again.restore(RESTRICTION, cards.record(RESTRICTION) or {})
    assert [card.index for card in again.cards({}) or () if card.unusable is None] == [0, 2]
    assert RESTRICTION in again.known()
    again.restrict(None)
    assert again.record(RESTRICTION) is None
    assert [card.index for card in again.cards({}) or () if card.unusable is None] == [1]


def test_cards_that_are_not_allowed_are_left_to_others() -> None:
    """Two supervisors may share a machine card by card."""
    assert known(facts("GPU-a"), facts("GPU-b"), allowed=["GPU-b"]).not_wanted() == ["GPU-a"]
    assert known(facts("GPU-a"), facts("GPU-b")).not_wanted() == []


def test_an_ignored_process_keeps_its_card_back_no_more() -> None:
    """It alone, on this card alone, and until that is undone."""
    busy = [process(9), process(8)]
    cards = known(facts("A", processes=busy), facts("B", processes=busy))
    assert cards.ignore(0, 9) is True
    assert cards.ignore(0, 9) is False
    assert "process 8 (python)" in str(reason(cards))
    cards.ignore(0, 8)
    assert cards.ignored(0) == [8, 9]
    assert reason(cards) is None
    assert "busy" in str(reason(cards, 1))
    assert cards.heed(0, 9) is True
    assert cards.heed(0, 9) is False
    assert "process 9" in str(reason(cards))


def test_what_is_not_on_a_card_cannot_be_ignored() -> None:
    """Nor on a card that is not there."""
    cards = known(facts("A", processes=[process(9)]))
    assert cards.ignore(0, 7) is None
    assert cards.ignore(3, 9) is None
    assert cards.take_changes() == ["A"]


def test_ignored_processes_are_remembered() -> None:
    """A record brings them back; without any there is none."""
    cards = known(facts("A", processes=[process(9)]))
    assert cards.record(EXEMPTION) is None
    cards.ignore(0, 9)
    assert EXEMPTION in cards.take_changes()
    assert EXEMPTION in cards.known()
    again = Cards(settings(), asked=True)
    for name in cards.known():
        again.restore(name, cards.record(name) or {})
    again.report([facts("A", processes=[process(9)])], [])
    assert again.ignored(0) == [9]
    assert reason(again) is None


@pytest.mark.parametrize("after", [[], [process(9, start_ticks=200)]])
def test_an_ignored_process_that_leaves_is_forgotten(after: list[dict[str, Any]]) -> None:
    """Who gets its pid is a stranger."""
    cards = known(facts("A", processes=[process(9)]))
    cards.ignore(0, 9)
    cards.take_changes()
    cards.report([facts("A", processes=after)], [])
    assert cards.ignored(0) == []
    assert cards.take_changes() == [EXEMPTION]
    assert (reason(cards) is None) == (not after)


def test_memory_of_an_ignored_process_out_of_sight_is_its_own() -> None:
    """One of another pid namespace, which no ``/proc`` shows."""
    unseen = process(9, alive=False, start_ticks=None, uid=None, name=None)
    cards = known(facts("A", used_bytes=GIB, processes=[unseen]))
    assert "busy" in str(reason(cards))
    cards.ignore(0, 9)
    assert reason(cards) is None

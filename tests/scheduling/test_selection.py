"""Listings in pages."""

from __future__ import annotations

from gflow.model.event import Cancel
from gflow.model.state import ACTIVE, LIVE, TERMINAL, State
from tests.scheduling.stage import Stage, capacity, spec, tasks


def _full_stage() -> Stage:
    stage = Stage(capacity(cpus=2))
    for n in range(6):
        stage.submit(spec(user="ab"[n % 2]))
    stage.submit(spec(user="a", array=tasks(3)))
    stage.end(1)
    stage.handle(Cancel(4, 0))
    return stage


def test_pages_go_on_after_an_id() -> None:
    """Ascending, every item once."""
    scheduler = _full_stage().scheduler
    found, after = [], 0
    while page := scheduler.page(after, 3):
        found += [item.id for item in page]
        after = found[-1]
    assert found == [1, 2, 3, 4, 5, 6, 7]


def test_pages_of_one_user() -> None:
    """Only theirs."""
    scheduler = _full_stage().scheduler
    assert [item.id for item in scheduler.page(0, 10, "a")] == [1, 3, 5, 7]
    assert scheduler.page(0, 10, "nobody") == []


def test_items_by_state() -> None:
    """Active ones first, then pending, then ended."""
    scheduler = _full_stage().scheduler
    assert [item.id for item in scheduler.in_states(ACTIVE)] == [2, 3]
    assert [item.id for item in scheduler.in_states(frozenset({State.PENDING}))] == [5, 6, 7]
    assert [item.id for item in scheduler.in_states(TERMINAL)] == [1, 4]
    assert [item.id for item in scheduler.in_states(LIVE)] == [2, 3, 5, 6, 7]


def test_a_listing_survives_changes_between_slices() -> None:
    """Jobs may end while somebody reads on."""
    stage = _full_stage()
    listing = iter(stage.scheduler.in_states(LIVE))
    first = next(listing)
    stage.end(first.id)
    stage.handle(Cancel(6, 0))
    assert 6 not in [item.id for item in listing]


def test_counts_by_state() -> None:
    """Waiting tasks count one by one."""
    counts = {s: n for s, n in _full_stage().scheduler.counts().items() if n}
    assert counts == {
        State.PENDING: 5,
        State.RUNNING: 2,
        State.COMPLETED: 1,
        State.CANCELLED: 1,
    }

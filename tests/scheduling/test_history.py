"""Random histories: invariants and promises hold after every event, a reload changes nothing.

``tools/simulate.py --core`` runs as many of them as one likes.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from gflow.model.event import CapacityChanged, Ready, Wake
from gflow.model.state import LIVE, State
from gflow.scheduling.ordered import each
from gflow.scheduling.scheduler import Scheduler
from tests.scheduling.history import History
from tests.scheduling.stage import Stage


def _derived(scheduler: Scheduler) -> dict[str, Any]:
    """What is rebuilt at load, in a form that can be compared."""
    core = scheduler._core
    live = core.live
    return {
        "buckets": sorted(list(each(b.keys)) for b in core.queue.buckets.values()),
        "queued": sorted(k for b in core.queue.buckets.values() for k in each(b.keys)),
        "waits": live.waits,
        "counts": {state: live.counts[state] for state in LIVE},
        "pending": {a.id: a.pending for a in live.arrays.values() if a.pending},
        "tallies": {
            key: (t.own, t.active, t.ended)
            for key, t in live.tallies.items()
            if live.arrays[key].state is State.PENDING
        },
        "ends": core.ends,
        "pool": [getattr(core.pool, name) for name in core.pool.__slots__],
        "holders": core.cpuset._holders,
        "watched": {
            key: {i: counts[0] for i, counts in conditions.items() if i not in item.met}
            for key, conditions in core.dependencies.by_child.items()
            if key in live.waits and (item := live.item(key))
        },
        "active": sorted(live.active),
    }


@pytest.mark.parametrize("seed", range(40))
def test_invariants_hold_in_random_histories(seed: int) -> None:
    """Whatever users, launcher and clock do."""
    history = History(seed)
    history.run(250)
    assert history.refused < 250


@pytest.mark.parametrize("seed", range(100, 120))
def test_loading_what_was_saved_gives_the_same_state(seed: int) -> None:
    """Facts are stored, the rest is derived: both schedulers agree in everything."""
    history = History(seed)
    history.run(120)
    stage = history.stage
    stage.handle(Wake())
    twin = stage.reloaded()
    twin.scheduler._core.set_capacity(stage.scheduler.capacity)
    _restart(twin)
    both = set(stage.scheduler.keys()) & set(twin.scheduler.keys())
    live = {key for key, record in stage.saved.items() if not record.get("final")}
    # Use is brought up to the present at different moments.
    apart = ("transition", "use", "project_use")
    assert {key for key in live if key[0] not in apart} <= both
    for key in {key for key in both if key[0] not in apart}:
        assert twin.scheduler.record(key) == stage.scheduler.record(key), key
    assert _derived(twin.scheduler) == _derived(stage.scheduler)


def _restart(twin: Stage) -> None:
    """Settle what load found, without starting anything that the original did not start."""
    twin.scheduler.handle(CapacityChanged(twin.scheduler.capacity), twin.now)
    while twin.scheduler._core.dependencies.unsettled:
        twin.scheduler.handle(Wake(), twin.now)
    twin.handle(Ready())


@pytest.mark.parametrize("seed", range(200, 215))
def test_everything_that_can_run_runs_in_the_end(seed: int) -> None:
    """When holds are lifted and jobs end, only impossible dependencies and their like are left."""
    history = History(seed)
    history.run(120)
    history.finish()


def test_a_history_that_nobody_has_seen_before() -> None:
    """One fresh seed in every run; the failure tells it, and ``tools/simulate.py`` replays it."""
    seed = random.SystemRandom().randrange(1 << 32)
    history = History(seed)
    try:
        history.run(300)
        history.finish()
    except Exception as error:
        error.add_note(f"python tools/simulate.py --core --seed {seed} --steps 300")
        raise


def test_equal_histories_lead_to_equal_decisions() -> None:
    """No clock, no random, no set order: the core is deterministic."""
    one, two = History(7), History(7)
    one.run(200)
    two.run(200)
    assert one.stage.actions == two.stage.actions
    assert one.stage.saved == two.stage.saved

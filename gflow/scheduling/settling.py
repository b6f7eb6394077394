"""What follows from what happened: dependants, moments that came, records that may be forgotten.

Each turn takes a bounded number of steps; the rest is done in the turns that follow at once.
"""

from __future__ import annotations

from math import inf

from gflow.model.action import Action
from gflow.model.job import Array, Job
from gflow.model.state import ACTIVE, TERMINAL, Instant, Reason, State
from gflow.scheduling import calendar, lifecycle, quota, waiting, warning
from gflow.scheduling.core import Core
from gflow.scheduling.dependency import Pair, satisfied, twin_position, verdict
from gflow.scheduling.state import DEPENDENCY, NEVER, Item
from gflow.scheduling.timer import CALENDAR, PASS, WEEK


def settle(core: Core, now: Instant) -> list[Action]:
    """Look at the dependants of what changed; whether more is left shows in ``core.again``."""
    actions: list[Action] = []
    unsettled = core.dependencies.unsettled
    steps = core.settings.steps_per_turn
    steps -= _split_counterparts(core, now, steps)
    while unsettled and steps:
        steps -= 1
        pair = unsettled.popleft()
        child = core.live.item(pair.child)
        if child is not None and child.state is State.PENDING:
            actions += _settle_pair(core, child, pair, now)
    core.again = core.again or bool(unsettled) or bool(core.dependencies.counterparts)
    return actions


def _settle_pair(core: Core, child: Item, pair: Pair, now: Instant) -> list[Action]:
    if pair.condition >= len(child.spec.dependencies):
        return []
    answer, look_again_at = verdict(core.live, core.dependencies.facts, child, pair, now.wall_s)
    if look_again_at is not None:
        core.timers.at_wall(look_again_at, child.id)
    if not core.dependencies.count(pair, answer):
        return []
    return _review(core, child, now)


def _review(core: Core, child: Item, now: Instant) -> list[Action]:
    met = core.dependencies.met_now(child)
    if met != child.met:
        child.met = met
        core.live.change(child)
    waits = core.live.waits.get(child.id, 0)
    if not waits & DEPENDENCY:
        return []
    impossible = core.dependencies.impossible(child)
    if impossible and child.spec.kill_on_invalid_dependency:
        return drop_item(core, child, now, Reason.DEPENDENCY_NEVER_SATISFIED)
    if satisfied(child, met) or impossible != bool(waits & NEVER):
        waiting.leave(core, child)
        if satisfied(child, met):
            core.dependencies.unwatch(core.live, child)
        waiting.enter(core, child, now)
    return []


def drop_item(core: Core, item: Item, now: Instant, reason: str) -> list[Action]:
    """Cancel a pending item because of what it depends on."""
    if isinstance(item, Array):
        return lifecycle.drop_waiting_tasks(core, item, now, reason)
    item.reason = reason
    return lifecycle.drop(core, item, now, "dependency", None)


def _split_counterparts(core: Core, now: Instant, steps: int) -> int:
    """Tasks whose counterpart ended go their own ways: each waits for that one task.

    Returns the steps taken. It comes before whole arrays are judged, so that a parent array that
    failed takes only those tasks along whose counterparts failed.
    """
    queue, taken = core.dependencies.counterparts, 0
    while queue and taken < steps:
        parent_id, child_id, positions = queue.popleft()
        parent, child = core.live.arrays.get(parent_id), core.live.arrays.get(child_id)
        if parent is None or child is None or not _watches(core, child, parent_id):
            continue
        now_ones = positions[: steps - taken]
        for position in now_ones:
            taken += 1
            mine = twin_position(child, parent, position)
            if mine is not None:
                waiting.enter(core, waiting.split(core, child, mine), now)
        if len(now_ones) < len(positions):
            queue.appendleft((parent_id, child_id, positions[len(now_ones) :]))
    return taken


def _watches(core: Core, child: Array, parent_id: int) -> bool:
    return any(
        dependency.type == "aftercorr" and parent_id in dependency.jobs
        for index, dependency in enumerate(child.spec.dependencies)
        if index in core.dependencies.by_child.get(child.id, ())
    )


# --- moments ----------------------------------------------------------------------------------


def wake(core: Core, now: Instant) -> list[Action]:
    """Do what was put off until now: begin times, back-offs, limits, reservations."""
    actions: list[Action] = []
    due = core.timers.due(now, core.settings.steps_per_turn)
    for item_id in due:
        if item_id == CALENDAR:
            calendar.advance(core, now)
            continue
        if item_id == WEEK:
            quota.begin_week(core, now)
            continue
        if item_id == PASS:
            core.pass_due_at = inf
            core.pass_wanted = True
            continue
        item = core.live.item(item_id)
        if item is None or item.state in TERMINAL:
            continue
        if isinstance(item, Job) and item.state in ACTIVE:
            actions += _enforce_limit(core, item, now) or warning.warn(core, item, now)
        elif item_id in core.live.waits:
            _look_again(core, item, now)
    core.again = core.again or len(due) == core.settings.steps_per_turn
    return actions


def _enforce_limit(core: Core, job: Job, now: Instant) -> list[Action]:
    if core.expected_end(job) > now.boot_s:
        return []
    if core.reserved_id is not None:
        core.pass_wanted = True  # all that is overdue is counted on at once
    if job.state is not State.RUNNING:
        return []
    job.reason = "time limit reached"
    return lifecycle.kill(core, job, "timeout", now)


def _look_again(core: Core, item: Item, now: Instant) -> None:
    if core.live.waits[item.id] & DEPENDENCY:
        for index, dependency in enumerate(item.spec.dependencies):
            if dependency.delay_s and index not in item.met:
                pairs = (Pair(parent, item.id, index) for parent in dependency.jobs)
                core.dependencies.unsettled.extend(pairs)
    waiting.leave(core, item)
    waiting.enter(core, item, now)


# --- forgetting -------------------------------------------------------------------------------


def forget(core: Core, now: Instant) -> None:
    """Drop finished items that are old or too many, unless live ones still need them.

    Whether more may be dropped shows in ``core.again``.
    """
    live, settings = core.live, core.settings
    for item_id in core.dependencies.released:
        item = live.item(item_id)
        if item_id in live.needed and item is not None and item.state in TERMINAL:
            live.finished.append((item.finished_at or 0.0, item_id))
        live.needed.discard(item_id)
    core.dependencies.released.clear()
    finished = live.finished
    for _ in range(min(len(finished), settings.steps_per_turn)):
        finished_at, item_id = finished[0]
        old = now.wall_s - finished_at >= settings.keep_finished_s
        if not old and len(finished) <= settings.keep_finished:
            break
        item = live.item(item_id)
        if item is not None and _is_unsaved(core, item):
            break  # its end is not durable yet, and memory is the only place that knows it
        finished.popleft()
        if item is None or item.state not in TERMINAL or _has_tasks(core, item):
            continue
        if core.dependencies.needs(item_id):
            live.needed.add(item_id)  # it comes back here when it is released
            continue
        live.drop(item)
        core.accounts.known.pop(("array", item_id), None)
        if isinstance(item, Job) and item.array_id is not None:
            array = live.arrays[item.array_id]
            if array.state in TERMINAL and not live.tallies[array.id].jobs:
                finished.append((array.finished_at or 0.0, array.id))
    else:
        core.again = core.again or bool(finished)


def _is_unsaved(core: Core, item: Item) -> bool:
    live = core.live
    key = ("array" if isinstance(item, Array) else "job", item.id)
    return key in live.kept or ("transition", item.id, item.transitions) in live.transitions


def _has_tasks(core: Core, item: Item) -> bool:
    return isinstance(item, Array) and bool(core.live.tallies[item.id].jobs)

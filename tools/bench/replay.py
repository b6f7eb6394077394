"""A trace under three policies: first come first served, greedy, and ours.

``greedy`` starts whatever fits, in order of submission, and keeps nothing for who is too wide (the
policy of the reference). ``ours`` is the real core, told what happens at simulated moments.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

from gflow.model.action import Action, Admitted, Start
from gflow.model.event import Exited, Gone, Ready, Started, Submit, Wake
from gflow.model.job import Process, Spec
from gflow.model.resources import Capacity, Resources
from gflow.model.state import Instant
from gflow.scheduling.scheduler import Scheduler
from gflow.scheduling.settings import Settings
from tools.bench import sample, trace
from tools.bench.table import COUNT, TIME, Row, compare, show
from tools.bench.trace import Arrival

_CARDS = 8
#: Shorter jobs count as this long in the bounded slowdown (Feitelson and Rudolph, 1998).
_BOUND_S = 10.0
_WALL_S = 1_750_000_000.0

#: A job that waits longer than so many times the longest run is starved.
_STARVED = 5.0

#: Job → when it started.
Starts = dict[int, float]


def run(*, quick: bool) -> Iterator[Row]:
    """Waits, slowdown and utilisation side by side, for each shape of workload over some seeds."""
    count, seeds = (200, 1) if quick else (2_500, 6)
    path = os.environ.get(trace.SWF)
    if path is not None:
        arrivals, total = trace.read_swf(Path(path), 5_000)
        yield from compared(Path(path).name, [arrivals], total)
        return
    for shape in trace.SHAPES:
        traces = [trace.made_up(shape, count, seed, cards=_CARDS) for seed in range(seeds)]
        yield from compared(shape.name, traces, _CARDS)


def compared(name: str, traces: list[list[Arrival]], total: int) -> Iterator[Row]:
    """One row per figure, each the mean over all traces."""
    own = _mean([figures(one, ours(one, total), total) for one in traces])
    greedy, fifo = (
        _mean([figures(one, simple(one, total, greedy=greedy), total) for one in traces])
        for greedy in (True, False)
    )
    for what, value in own.items():
        unit = TIME if "wait" in what else COUNT
        goals: dict[str, float] = {}
        if what == "p95 wait of wide jobs":
            goals = {"ratio_at_most": 1.0}
        elif what == "utilisation":
            goals = {"ratio_at_least": 0.98}
        elif what == "starved jobs":
            goals = {"at_most": 0.0}
        yield compare(
            f"replay, {name}, {len(traces)} x {len(traces[0]):,} jobs: {what}",
            value,
            unit,
            ("greedy", greedy[what]),
            note=f"fifo {show(fifo[what], unit)}",
            **goals,
        )


def _mean(found: list[dict[str, float]]) -> dict[str, float]:
    return {what: sum(one[what] for one in found) / len(found) for what in found[0]}


def figures(arrivals: list[Arrival], starts: Starts, total: int) -> dict[str, float]:
    """What users feel, and how much of the machine was used while jobs came."""
    waits = [starts[one.number] - one.submit_s for one in arrivals]
    wide = [wait for one, wait in zip(arrivals, waits) if one.width > total // 2]
    slowdown = [
        max(1.0, (wait + one.run_s) / max(one.run_s, _BOUND_S))
        for one, wait in zip(arrivals, waits)
    ]
    bound_s = _STARVED * max(one.run_s for one in arrivals)
    first_s, last_s = arrivals[0].submit_s, arrivals[-1].submit_s
    used = sum(
        (min(last_s, starts[one.number] + one.run_s) - min(last_s, starts[one.number])) * one.width
        for one in arrivals
    )
    return {
        "mean wait": sum(waits) / len(waits),
        "p95 wait": sample.percentile(waits, 0.95),
        "p95 wait of wide jobs": sample.percentile(wide, 0.95) if wide else 0.0,
        "starved jobs": float(sum(wait > bound_s for wait in waits)),
        "bounded slowdown": sum(slowdown) / len(slowdown),
        "utilisation": used / (total * max(1.0, last_s - first_s)),
    }


def simple(arrivals: list[Arrival], total: int, *, greedy: bool) -> Starts:
    """Both simple policies: the queue is walked whenever something came or ended."""
    starts: Starts = {}
    ends: list[tuple[float, int]] = []
    queue: list[Arrival] = []
    free, coming = total, 0
    while len(starts) < len(arrivals):
        next_s = arrivals[coming].submit_s if coming < len(arrivals) else inf
        now_s = min(next_s, ends[0][0] if ends else inf)
        while ends and ends[0][0] <= now_s:
            free += heapq.heappop(ends)[1]
        while coming < len(arrivals) and arrivals[coming].submit_s <= now_s:
            queue.append(arrivals[coming])
            coming += 1
        left = []
        for position, one in enumerate(queue):
            if one.width <= free:
                free -= one.width
                starts[one.number] = now_s
                heapq.heappush(ends, (now_s + one.run_s, one.width))
            elif greedy:
                left.append(one)
            else:
                left = queue[position:]
                break
        queue = left
    return starts


def ours(arrivals: list[Arrival], total: int) -> Starts:
    """The real core; a wide job's cards are its processors here, which is all that counts."""
    return _Simulation(arrivals, total).run()


class _Simulation:
    """Simulated moments for the real core."""

    def __init__(self, arrivals: list[Arrival], total: int) -> None:
        self._arrivals = arrivals
        self._scheduler = Scheduler(Settings(), Capacity(total, 1 << 40, ()), "boot")
        self._scheduler.commit_id_floor(1 << 40)
        self._starts: Starts = {}
        self._by_id: dict[int, Arrival] = {}
        #: (moment, order, what happens then).
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._now_s = 0.0
        self._tell(Ready())

    def run(self) -> Starts:
        """Until everything has started."""
        for one in self._arrivals:
            self._at(one.submit_s, lambda one=one: self._submit(one))  # type: ignore[misc]
        while len(self._starts) < len(self._arrivals):
            due = self._scheduler.next_wakeup()
            due_s = inf if due is None else min(due.boot_s, due.wall_s - _WALL_S)
            if due_s <= self._agenda[0][0]:
                self._now_s = max(self._now_s, due_s)
                self._tell(Wake())
            else:
                self._now_s, _, happen = heapq.heappop(self._agenda)
                happen()
        return self._starts

    def _at(self, moment_s: float, happen: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (moment_s, self._order, happen))

    def _tell(self, event: object) -> list[Action]:
        now = Instant(self._now_s, _WALL_S + self._now_s)
        actions = self._scheduler.handle(event, now)  # type: ignore[arg-type]
        self._scheduler.release(self._scheduler.take_changes())
        for action in actions:
            if isinstance(action, Start):
                self._start(action)
        return actions

    def _submit(self, one: Arrival) -> None:
        spec = Spec(
            name="job",
            user=one.user,
            uid=1000,
            gid=1000,
            command=("true",),
            cwd="/",
            resources=Resources(cpus=one.width),
            time_limit_s=one.limit_s,
        )
        # The core may start it in the same breath.
        self._by_id[self._scheduler.next_id] = one
        admitted = self._tell(Submit((spec,), 1000))[0]
        assert isinstance(admitted, Admitted)

    def _start(self, action: Start) -> None:
        one = self._by_id[action.job_id]
        self._starts[one.number] = self._now_s
        self._at(self._now_s, lambda: self._started(action))
        self._at(self._now_s + one.run_s, lambda: self._end(action))

    def _started(self, action: Start) -> None:
        process = Process("boot", action.job_id, 1)
        self._tell(
            Started(
                action.job_id, action.attempt, process, process, _WALL_S + self._now_s, self._now_s
            )
        )

    def _end(self, action: Start) -> None:
        self._tell(Exited(action.job_id, action.attempt, 0, None, _WALL_S + self._now_s))
        self._tell(Gone(action.job_id, action.attempt))

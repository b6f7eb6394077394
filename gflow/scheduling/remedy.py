"""What would let a waiting job start now: smaller requests, each tried on a copy of the queue.

Only what starts the job there at once is told. A trial decides with the same code as the machine
itself, so a change that would only move the job behind somebody else is never offered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from math import inf

from gflow.model.job import Array, Spec
from gflow.model.resources import Resources
from gflow.model.state import Instant, State
from gflow.scheduling import calendar, drain
from gflow.scheduling.backfill import reserve
from gflow.scheduling.core import Core
from gflow.scheduling.forecast import Play
from gflow.scheduling.state import Item

#: Items of the queue that come before the job at most; further back nothing is tried.
_HORIZON = 500
#: Shorter limits that are tried, the longest first.
_LIMITS = 3
#: A limit leaves the user this share of the time until it is needed, to type the command in.
_HASTE = 0.9
_SHORTEST_S = 10
#: An array with more tasks that have a Job of their own is not looked at.
_OWN_TASKS = 1000
_MIB, _GIB = 1 << 20, 1 << 30

#: Options of ``gflowctl update``, and the spec that they make.
Candidate = tuple[str, Spec]


class Trials:
    """Tries one candidate after the other. Call :meth:`step` until it is done."""

    __slots__ = ("_candidates", "_item", "_now", "_play", "_source", "_words", "found")

    def __init__(self, source: Core, item: Item, now: Instant) -> None:
        self._source = source
        self._item = item
        self._now = now
        self._candidates: Iterator[Candidate] = iter(())
        if item.id not in source.live.waits and not _has_odd_tasks(source, item):
            self._candidates = candidates(source, item, now)
        self._play: Play | None = None
        self._words = ""
        #: Options that work, the smallest change first.
        self.found: list[str] = []

    def step(self, count: int) -> bool:
        """Go on by ``count`` small steps; whether it is done."""
        for _ in range(count):
            if self._play is None and not self._begin():
                return True
            self._go_on()
        return False

    def _begin(self) -> bool:
        for words, spec in self._candidates:
            if _is_part_of(self.found, words):
                continue
            self._words = words
            self._play = Play(
                self._source, self._now, target_id=self._item.id, instead=spec, horizon=_HORIZON
            )
            return True
        return False

    def _go_on(self) -> None:
        play = self._play
        assert play is not None
        done = play.step(1)
        if not play.moved and self._item.id in play.starts:
            self.found.append(self._words)
        elif not done and not play.moved:
            return
        self._play = None


def _has_odd_tasks(core: Core, item: Item) -> bool:
    """Whether an update of the array would also meet waiting tasks that ask for something else."""
    if not isinstance(item, Array):
        return False
    own = core.live.tallies[item.id].own
    if len(own) > _OWN_TASKS:
        return True
    tasks = (core.live.jobs[item.id + 1 + position] for position in own)
    want = item.spec.resources
    return any(one.state is State.PENDING and one.spec.resources != want for one in tasks)


def _is_part_of(found: list[str], words: str) -> bool:
    """Whether something shorter, or with more time, is found already."""
    return any(f" {_without_value(one)} " in f" {_without_value(words)} " for one in found)


def _without_value(words: str) -> str:
    """Options whatever the time limit is: the longest is tried first."""
    return re.sub(r"--time \S+", "--time", words)


# --- what could be tried ------------------------------------------------------------------------


def candidates(core: Core, item: Item, now: Instant) -> Iterator[Candidate]:
    """Smaller requests, the smallest change first."""
    spec = item.spec
    requests = list(_requests(core, item))
    limits = list(_limits(core, item, now))
    for words, request in requests:
        yield words, replace(spec, resources=request)
    for words, limit_s in limits:
        yield words, replace(spec, time_limit_s=limit_s)
    for words, request in requests:
        for more, limit_s in limits:
            yield f"{words} {more}", replace(spec, resources=request, time_limit_s=limit_s)


def _requests(core: Core, item: Item) -> Iterator[tuple[str, Resources]]:
    want, pool = item.spec.resources, core.pool
    if want.gpus and pool.cards is None:
        return
    accounts = core.accounts_of(item)
    cpus = min([pool.cpus, *(a.max_cpus - a.cpus for a in accounts if a.max_cpus is not None)])
    gpus = min(
        [
            len(pool.accepting(want)),
            *(a.max_gpus - a.gpus for a in accounts if a.max_gpus is not None),
        ]
    )
    words, less = [], want
    if want.cpus > cpus:
        words.append(f"--cpus {cpus}")
        less = replace(less, cpus=cpus)
    if want.memory_bytes and want.memory_bytes > pool.memory_bytes:
        memory_bytes = _whole(pool.memory_bytes)
        words.append(f"--mem {_size(memory_bytes)}")
        less = replace(less, memory_bytes=memory_bytes)
    if cpus < 1 or (want.memory_bytes and less.memory_bytes <= 0):
        return
    if want.gpus and want.gpus > gpus:
        if gpus > 0:
            yield " ".join([*words, f"--gpus {gpus}"]), replace(less, gpus=gpus)
        memory_bytes = _room(core, want)
        if memory_bytes:
            words += ["--gpu-memory" if want.gpu_shared else "--shared --gpu-memory"]
            words.append(_size(memory_bytes))
            yield " ".join(words), replace(less, gpu_shared=True, gpu_memory_bytes=memory_bytes)
    elif words:
        yield " ".join(words), less


def _room(core: Core, want: Resources) -> int:
    """Memory that as many cards as are wanted could share with others now; 0: too few could."""
    room = sorted(
        card.memory_bytes - card.shared_bytes
        for index, card in (core.pool.cards or {}).items()
        if card.usable and not card.whole and (not want.gpus_allowed or index in want.gpus_allowed)
    )
    return _whole(room[-want.gpus]) if len(room) >= want.gpus else 0


def _limits(core: Core, item: Item, now: Instant) -> Iterator[tuple[str, float]]:
    """Time limits with which it would end before what it must not delay, the longest first."""
    moments = set()
    drained = drain.barrier(core, now)
    first = None if core.reserved_id is None else core.live.item(core.reserved_id)
    ahead = [] if drained is None else [drained]
    if first is not None and first is not item:
        kept = reserve(core, first, now)
        ahead += [] if kept is None else [kept, *kept.later]
    ahead += calendar.barriers(core, calendar.own(core, item.spec), now)
    limit_s = core.time_limit_s(item)
    for barrier in ahead:
        left_s = _rounded(_HASTE * (barrier.at_boot_s - now.boot_s))
        if _SHORTEST_S <= left_s < limit_s:
            moments.add(left_s)
    for left_s in sorted(moments, reverse=True)[:_LIMITS]:
        yield f"--time {left_s // 60}m" if left_s >= 60 else f"--time {left_s}s", float(left_s)


def _rounded(left_s: float) -> int:
    """Whole minutes, or seconds where it is less than one; 0 when nothing is left."""
    if not 0 < left_s < inf:
        return 0
    return int(left_s) // 60 * 60 if left_s >= 60 else int(left_s)


def _whole(size_bytes: int) -> int:
    """Rounded down to what is written shortly; 0 for less than nothing."""
    step = _GIB if size_bytes >= 4 * _GIB else _MIB
    return max(0, size_bytes // step * step)


def _size(whole_bytes: int) -> str:
    """As options take sizes."""
    if whole_bytes % _GIB == 0:
        return f"{whole_bytes // _GIB}G"
    return f"{whole_bytes // _MIB}M"

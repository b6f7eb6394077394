"""Which pending items wait for which others, and whether what they wait for has come true.

Every (condition, parent) pair of a waiting item is watched on its own and remembers its verdict, so
that one parent's end costs one look per dependant, in any order and as often as one likes. Once all
that is needed came true, the index of the condition goes into ``met``, a fact; until then nothing
that an item waits for may be forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from gflow.model.job import Array, Dependency, Job
from gflow.model.state import TERMINAL, State
from gflow.scheduling.interval import locate
from gflow.scheduling.numbering import number_at, position_of
from gflow.scheduling.state import Item, Live

WAIT, TRUE, NEVER = 0, 1, 2
#: A job's id, or user and name for ``singleton``.
Parent = int | tuple[str, str]


class Phase(NamedTuple):
    """How far a parent has come."""

    begun_at: float | None
    #: None until it ended for good.
    ended: State | None
    ended_at: float | None


class Pair(NamedTuple):
    """One thing that one item waits for."""

    parent: Parent
    child: int
    condition: int


class Dependencies:
    """Pairs that are watched, by parent and by child."""

    __slots__ = (
        "arrays",
        "by_child",
        "by_parent",
        "counterparts",
        "edits",
        "facts",
        "released",
        "unsettled",
        "upward",
    )

    def __init__(self) -> None:
        #: parent -> (child, index) -> verdict last counted.
        self.by_parent: dict[Parent, dict[tuple[int, int], int]] = {}
        #: child -> index -> [pairs, true ones, impossible ones].
        self.by_child: dict[int, dict[int, list[int]]] = {}
        #: Arrays some task of which is waited for, with how often.
        self.arrays: dict[int, int] = {}
        #: Parents that nobody waits for any more.
        self.released: list[int] = []
        #: Ends of parents that only history knows.
        self.facts: dict[int, State] = {}
        #: (parent array, child array, positions of ended tasks): whose counterparts go their own
        #: ways (aftercorr).
        self.counterparts: deque[tuple[int, int, range]] = deque()
        #: Watched pairs whose parent is younger than the child: only an update makes such.
        self.upward = 0
        #: How often dependencies of a job that waits have been changed.
        self.edits = 0
        #: Pairs to look at.
        self.unsettled: deque[Pair] = deque()

    def needs(self, item_id: int) -> bool:
        """Whether anybody waits for a job, a task or an array, or for a task of it."""
        return item_id in self.by_parent or item_id in self.arrays

    def watch(self, live: Live, child: Item) -> list[Pair]:
        """Begin to watch what ``child`` still needs; returns the pairs, none settled yet."""
        pairs: list[Pair] = []
        counts = self.by_child[child.id] = {}
        for index, dependency in enumerate(child.spec.dependencies):
            if index in child.met:
                continue
            parents = parents_of(child, dependency)
            counts[index] = [len(parents), 0, 0]
            for parent in parents:
                if parent not in self.by_parent:
                    self.by_parent[parent] = {}
                    self._count_array(live, parent, 1)
                self.by_parent[parent][child.id, index] = WAIT
                self.upward += isinstance(parent, int) and parent > child.id
                pairs.append(Pair(parent, child.id, index))
        return pairs

    def _count_array(self, live: Live, parent: Parent, sign: int) -> None:
        found = live.array_of(parent) if isinstance(parent, int) else None
        if found is None:
            return
        array_id = found[0].id
        self.arrays[array_id] = self.arrays.get(array_id, 0) + sign
        if not self.arrays[array_id]:
            del self.arrays[array_id]
            self.released.append(array_id)

    def task_ended(self, array_id: int, position: int) -> None:
        """A task ended that the tasks of other arrays may wait for one by one."""
        for child, _ in self.by_parent.get(array_id, ()):
            self.counterparts.append((array_id, child, range(position, position + 1)))

    def unwatch(self, live: Live, child: Item) -> None:
        """Stop watching, before the child's spec changes and when it no longer waits."""
        if self.by_child.pop(child.id, None) is None:
            return
        for index, dependency in enumerate(child.spec.dependencies):
            for parent in parents_of(child, dependency):
                children = self.by_parent.get(parent)
                if children is None:
                    continue
                if children.pop((child.id, index), None) is not None:
                    self.upward -= isinstance(parent, int) and parent > child.id
                if not children:
                    del self.by_parent[parent]
                    self._count_array(live, parent, -1)
                    if isinstance(parent, int):
                        self.facts.pop(parent, None)
                        self.released.append(parent)

    def touch(self, parents: Iterable[Parent]) -> None:
        """Something happened to these parents: their pairs are to be looked at."""
        for parent in parents:
            for child, index in self.by_parent.get(parent, ()):
                self.unsettled.append(Pair(parent, child, index))

    def touch_tasks(self, array_id: int, first_id: int, stop_id: int) -> None:
        """Something happened to a run of tasks of one array."""
        if array_id not in self.arrays:
            return
        if stop_id - first_id < len(self.by_parent):
            self.touch(range(first_id, stop_id))
        else:
            parents = [parent for parent in self.by_parent if isinstance(parent, int)]
            self.touch(parent for parent in parents if first_id <= parent < stop_id)

    def count(self, pair: Pair, verdict: int) -> bool:
        """Take a verdict into account; False when the pair is not watched any more."""
        children = self.by_parent.get(pair.parent)
        if children is None or (pair.child, pair.condition) not in children:
            return False
        before = children[pair.child, pair.condition]
        children[pair.child, pair.condition] = verdict
        counts = self.by_child[pair.child][pair.condition]
        if before:
            counts[before] -= 1
        if verdict:
            counts[verdict] += 1
        return True

    def met_now(self, child: Item) -> frozenset[int]:
        """Conditions of a watched item that are true as things stand."""
        anyone = child.spec.dependency_mode == "any"
        found = set(child.met)
        for index, (pairs, true, _) in self.by_child.get(child.id, {}).items():
            if true == pairs or (anyone and true):
                found.add(index)
        return frozenset(found)

    def impossible(self, child: Item) -> bool:
        """Whether a watched item can never start as things stand."""
        open_ones = self.by_child.get(child.id, {}).items()
        counts = [three for index, three in open_ones if index not in child.met]
        if child.spec.dependency_mode == "any":
            return not child.met and all(never == pairs for pairs, _, never in counts)
        return any(never for _, _, never in counts)


def satisfied(item: Item, met: frozenset[int]) -> bool:
    """Whether these met conditions are all that the item needs."""
    needed = len(item.spec.dependencies)
    if not needed:
        return True
    return bool(met) if item.spec.dependency_mode == "any" else len(met) == needed


def parents_of(child: Item, dependency: Dependency) -> tuple[Parent, ...]:
    """What one condition of ``child`` looks at; aftercorr of a task looks at its counterpart."""
    if dependency.type == "singleton":
        return ((child.spec.user, child.spec.name),)
    return tuple(dict.fromkeys(dependency.jobs))


def counterpart(live: Live, child: Job, parent: Array) -> int | None:
    """Id of the parent's task with the child's task number."""
    assert parent.spec.array is not None and child.task is not None
    position = position_of(parent.spec.array, child.task)
    return None if position is None else parent.id + 1 + position


def phase(live: Live, facts: dict[int, State], parent_id: int) -> Phase:
    """How far a job, a task or a whole array has come."""
    job = live.jobs.get(parent_id)
    if job is not None:
        ended = job.state if job.state in TERMINAL else None
        return Phase(job.started_at, ended, job.finished_at if ended else None)
    array = live.arrays.get(parent_id)
    if array is not None:
        return _array_phase(live, array)
    found = live.array_of(parent_id)
    if found is not None:
        array, position = found
        if locate(array.pending, position) is not None:
            return Phase(None, None, None)
        well = locate(live.tallies[array.id].completed, position) is not None
        return Phase(0.0, State.COMPLETED if well else State.FAILED, 0.0)
    # What nobody knows any more cannot be told to have ended well.
    return Phase(0.0, facts.get(parent_id, State.NODE_FAIL), 0.0)


def _array_phase(live: Live, array: Array) -> Phase:
    ended = array.state if array.state in TERMINAL else None
    begun_at = None
    if not array.pending:
        own = live.tallies[array.id].own
        starts = [live.jobs[array.id + 1 + position].started_at for position in own]
        if None not in starts:
            begun_at = max((at for at in starts if at is not None), default=0.0)
    return Phase(begun_at, ended, array.finished_at if ended else None)


def verdict(
    live: Live, facts: dict[int, State], child: Item, pair: Pair, now_wall_s: float
) -> tuple[int, float | None]:
    """Verdict on one pair, and for a delayed one the moment to look again (epoch seconds)."""
    dependency = child.spec.dependencies[pair.condition]
    if not isinstance(pair.parent, int):
        oldest = live.oldest_namesake(*pair.parent)
        return (TRUE if oldest is None or oldest >= _row(child) else WAIT), None
    parent_id = pair.parent
    if dependency.type == "aftercorr":
        parent = live.arrays.get(parent_id)
        if parent is not None and isinstance(child, Job) and child.array_id is not None:
            twin = counterpart(live, child, parent)
            if twin is None:
                return NEVER, None
            parent_id = twin
    found = phase(live, facts, parent_id)
    answer, since = _judge(dependency.type, found)
    if answer == TRUE and dependency.delay_s and since is not None:
        due = since + dependency.delay_s
        if due > now_wall_s:
            return WAIT, due
    return answer, None


def _row(child: Item) -> int:
    return child.array_id if isinstance(child, Job) and child.array_id is not None else child.id


def _judge(kind: str, found: Phase) -> tuple[int, float | None]:
    if kind == "after":
        if found.begun_at is None and found.ended is None:
            return WAIT, None
        return TRUE, found.begun_at if found.begun_at is not None else found.ended_at
    if found.ended is None:
        return WAIT, None
    if kind == "afterany":
        true = True
    elif kind == "afternotok":
        true = found.ended is not State.COMPLETED
    else:
        true = found.ended is State.COMPLETED
    return (TRUE if true else NEVER), found.ended_at


def twin_position(child: Array, parent: Array, position: int) -> int | None:
    """Position in ``child`` of the waiting task with the number of a task of ``parent``."""
    assert child.spec.array is not None and parent.spec.array is not None
    mine = position_of(child.spec.array, number_at(parent.spec.array, position))
    return mine if mine is not None and locate(child.pending, mine) is not None else None

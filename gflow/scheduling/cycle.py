"""Whether new dependencies, or a new name, would make a job wait for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gflow.errors import Refused
from gflow.model.job import Array, Dependency, Job
from gflow.model.state import State
from gflow.scheduling import control
from gflow.scheduling.core import Core
from gflow.scheduling.ordered import after
from gflow.scheduling.state import Item

#: Jobs looked at between two rests.
_STEPS = 100


def check(
    core: Core, job_id: int, dependencies: Iterable[Dependency], name: str | None = None
) -> Iterator[None]:
    """Refuse them if anything that they name already waits for the job. Rests now and then.

    ``name``: the one that the job is to have; others may be ``singleton`` with it. Nothing may
    change the dependencies of other jobs meanwhile (``core.dependencies.edits`` counts how often
    somebody did). While nobody waits for a younger job, no older one can: then a chain costs
    nothing to look at.
    """
    search = _Search(core, control.target(core, job_id, "update"), job_id, name)
    for number, found in enumerate(search.run(dependencies), 1):
        if found:
            cause = "it would wait for itself, directly or through others"
            raise Refused(Refused.INVALID, f"cannot update job {job_id}: {cause}")
        if number % _STEPS == 0:
            yield


class _Search:
    """One walk along what is waited for, from one job on."""

    def __init__(self, core: Core, item: Item, job_id: int, name: str | None) -> None:
        self._core = core
        self._item = item
        self._own = {job_id}
        self._tasks = range(0)
        if isinstance(item, Array) and item.id == job_id:
            self._tasks = range(item.id + 1, item.id + 1 + item.size)
        elif isinstance(item, Array):
            self._own.add(item.id)
        elif item.array_id is not None:
            self._own.add(item.array_id)
        #: The job, or its array, as it counts for those who are ``singleton``; a task has no name.
        self._row = _row(item)
        self._named = self._row == job_id
        self._name = item.spec.name if name is None or not self._named else name
        self._oldest = 0 if core.dependencies.upward else min(self._own)
        self._seen: set[int] = set()
        #: Up to which id the older jobs of a user and name have been reached.
        self._reached: dict[tuple[str, str], int] = {}

    def run(self, dependencies: Iterable[Dependency]) -> Iterator[bool]:
        """True when it has come back to the job; False after each step on the way."""
        left = [self._parents(dependencies, self._item.spec.user, self._name, self._row)]
        while left:
            parent = next(left[-1], None)
            if parent is None:
                left.pop()
                continue
            if parent in self._own or parent in self._tasks:
                yield True
            if parent not in self._seen and parent > self._oldest:
                self._seen.add(parent)
                left += map(self._waits_for, self._items(parent))
            yield False

    def _items(self, item_id: int) -> list[Item]:
        live = self._core.live
        item, found = live.item(item_id), live.array_of(item_id)
        if isinstance(item, Array):
            return [item, *control.own_tasks(self._core, item)]
        if item is not None:
            return [item]
        return [] if found is None else [found[0]]

    def _waits_for(self, item: Item) -> Iterator[int]:
        if item.state is not State.PENDING:
            return iter(())
        spec = item.spec
        return self._parents(spec.dependencies, spec.user, spec.name, _row(item))

    def _parents(
        self, dependencies: Iterable[Dependency], user: str, name: str, row: int
    ) -> Iterator[int]:
        for dependency in dependencies:
            if dependency.type == "singleton":
                yield from self._older(user, name, row)
            yield from dependency.jobs

    def _older(self, user: str, name: str, row: int) -> Iterator[int]:
        """Jobs and arrays of that name before a row, those apart that were reached before."""
        spec = self._item.spec
        if self._named and (user, name) == (spec.user, self._name) and self._row < row:
            yield self._row
        reached, key = self._reached, (user, name)
        while True:
            keys = self._core.live.namesakes.get(user, {}).get(name)
            last = reached.get(key, self._oldest - 1)
            found = [] if keys is None else after(keys, last, _STEPS)
            found = [one for one in found if one < row]
            if not found:
                return
            for one in found:
                reached[key] = max(one, reached.get(key, 0))
                if one != self._row or name == self._name:
                    yield one


def _row(item: Item) -> int:
    return item.array_id if isinstance(item, Job) and item.array_id is not None else item.id

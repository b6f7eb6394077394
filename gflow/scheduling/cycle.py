"""Whether new dependencies would make a job wait for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gflow.errors import Refused
from gflow.model.job import Array, Dependency
from gflow.model.state import State
from gflow.scheduling import control
from gflow.scheduling.core import Core
from gflow.scheduling.state import Item

#: Jobs looked at between two rests.
_STEPS = 100


def check(core: Core, job_id: int, dependencies: Iterable[Dependency]) -> Iterator[None]:
    """Refuse them if anything that they name already waits for the job. Rests now and then.

    Nothing may change the dependencies of other jobs meanwhile (``core.dependencies.edits`` counts
    how often somebody did). While nobody waits for a younger job, no older one can: then a chain
    costs nothing to look at.
    """
    item = control.target(core, job_id, "update")
    own = {job_id}
    tasks = range(0)
    if isinstance(item, Array) and item.id == job_id:
        tasks = range(item.id + 1, item.id + 1 + item.size)
    elif isinstance(item, Array):
        own.add(item.id)
    elif item.array_id is not None:
        own.add(item.array_id)
    oldest = 0 if core.dependencies.upward else min(own)
    seen: set[int] = set()
    left = [parent for dependency in dependencies for parent in dependency.jobs]
    while left:
        parent = left.pop()
        if parent in own or parent in tasks:
            cause = "it would wait for itself, directly or through others"
            raise Refused(Refused.INVALID, f"cannot update job {job_id}: {cause}")
        if parent not in seen and parent > oldest:
            seen.add(parent)
            left += _waits_for(core, parent)
            if len(seen) % _STEPS == 0:
                yield


def _waits_for(core: Core, item_id: int) -> list[int]:
    found = core.live.array_of(item_id)
    items: list[Item] = []
    item = core.live.item(item_id)
    if isinstance(item, Array):
        items = [item, *control.own_tasks(core, item)]
    elif item is not None:
        items = [item]
    elif found is not None:
        items = [found[0]]
    return [
        parent
        for one in items
        if one.state is State.PENDING
        for dependency in one.spec.dependencies
        for parent in dependency.jobs
    ]

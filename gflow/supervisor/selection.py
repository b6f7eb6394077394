"""Which jobs a request means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from fnmatch import fnmatchcase

from gflow.api.operations import JobFilter
from gflow.api.server.turn import Turn
from gflow.errors import Refused
from gflow.model.job import Array, Job
from gflow.model.state import LIVE, State
from gflow.scheduling.scheduler import Scheduler
from gflow.supervisor import view

#: Items looked at between two chances for others.
_PAGE = 100


async def matching(
    scheduler: Scheduler, which: JobFilter, after: int = -1
) -> AsyncIterator[Job | Array]:
    """Items that the filter means, ascending by id, others may run in between."""
    test = Selection(which)
    turn = Turn()
    if which.ids is not None:
        for job_id in sorted(set(which.ids)):
            if job_id > after:
                for item in _by_id(scheduler, job_id):
                    if test.accepts(item):
                        yield item
            await turn.breathe()
        return
    user = which.users[0] if which.users is not None and len(which.users) == 1 else None
    if user is not None and user.isdigit():
        user = None
    while items := scheduler.page(after, _PAGE, user):
        after = items[-1].id
        for item in items:
            if test.accepts(item):
                yield item
        await turn.breathe()


def _by_id(scheduler: Scheduler, job_id: int) -> list[Job | Array]:
    """The item of an id, and of an array the tasks that have a Job of their own."""
    item = scheduler.item(job_id)
    if isinstance(item, Array):
        return [item, *scheduler.tasks(job_id)]
    return [] if item is None else [item]


class Selection:
    """Whether an item is meant by a filter (ids apart)."""

    def __init__(self, which: JobFilter) -> None:
        self._users = None if which.users is None else set(which.users)
        self._names = which.names
        self._projects = None if which.projects is None else set(which.projects)
        if which.states is not None:
            self._states = {State(state) for state in which.states}
        else:
            self._states = set(State) if which.ended else set(LIVE)

    def accepts(self, item: Job | Array) -> bool:
        spec = item.spec
        return (
            item.state in self._states
            and view.has_row(item)
            and (self._users is None or spec.user in self._users or str(spec.uid) in self._users)
            and (self._projects is None or spec.project in self._projects)
            and (self._names is None or any(fnmatchcase(spec.name, n) for n in self._names))
        )


def no_such_job(job_id: int) -> Refused:
    """The refusal for an id that nobody has."""
    return Refused(Refused.NOT_FOUND, f"cannot find job {job_id}: there is no such job")

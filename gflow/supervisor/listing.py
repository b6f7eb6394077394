"""What may be asked about jobs: which there are, what they are and what they went through."""

from __future__ import annotations

from collections import deque

from gflow.api.operations import HistoryFilter, JobFilter, JobReference, Peer, Record
from gflow.api.server.turn import Turn
from gflow.errors import Refused
from gflow.model.job import Array, Job
from gflow.model.record import Key
from gflow.model.state import TERMINAL, State
from gflow.scheduling import codec, numbering
from gflow.scheduling.scheduler import Scheduler
from gflow.supervisor import access, view
from gflow.supervisor.reactor import Reactor
from gflow.supervisor.selection import matching, no_such_job


class ListingOperations:
    """The part of the operations that finds jobs and shows them."""

    _reactor: Reactor
    _scheduler: Scheduler
    _latest: dict[int, deque[int]]

    def user_name(self, uid: int) -> str | None:
        """Name of a user, from memory alone; asked for in the background when it is not known."""
        return self._reactor.directory.name(uid)

    async def account(self, uid: int) -> tuple[str, int]:
        """Name and primary group of a user, asked for if need be."""
        return await self._reactor.directory.account(uid)

    async def resolve(self, peer: Peer, reference: JobReference) -> int:
        """Id of the job, array or task; NOT_FOUND when there is none (history included)."""
        if reference.back is not None:
            latest = self._latest.get(peer.uid, ())
            if reference.back >= len(latest):
                raise Refused(Refused.NOT_FOUND, "cannot find the job: you submitted none so far")
            return latest[-1 - reference.back]
        assert reference.id is not None
        job_id: int | None = reference.id
        if reference.task is not None:
            job_id = await self._task_id(reference.id, reference.task)
            if job_id is None:
                raise Refused(
                    Refused.NOT_FOUND,
                    f"cannot find job {reference.id}_{reference.task}: there is no such task",
                )
        assert job_id is not None
        if not self._scheduler.knows(job_id) and await self._reactor.from_history(job_id) is None:
            raise no_such_job(job_id)
        return job_id

    async def _task_id(self, array_id: int, task: int) -> int | None:
        if self._scheduler.array(array_id) is not None:
            return self._scheduler.task_id(array_id, task)
        record = await self._reactor.from_history(array_id)
        if record is None:
            raise no_such_job(array_id)
        array = codec.decode(("array", array_id), record)
        if not isinstance(array, Array) or array.spec.array is None:
            return None
        position = numbering.position_of(array.spec.array, task)
        return None if position is None else array_id + 1 + position

    async def jobs(self, peer: Peer, which: JobFilter, *, cursor: str | None, limit: int) -> Record:
        """A page of jobs in memory, by id."""
        after = _cursor(cursor)
        found: list[Record] = []
        turn = Turn()
        async for item in matching(self._scheduler, which, after):
            found.append(self._row(item))
            after = item.id
            if len(found) == limit:
                return {"jobs": found, "next": str(after)}
            await turn.breathe()
        return {"jobs": found, "next": None}

    def record(self, item: Job | Array) -> Record:
        """The record of an item in memory, as users see it."""
        reason: str | None = self._scheduler.reason(item) or item.reason
        if isinstance(item, Array):
            return view.array_record(item, reason)
        folders = self._reactor.folders
        path = None
        if item.spec.pty and item.state not in {*TERMINAL, State.PENDING}:
            system = access.is_system(self._reactor)
            path = folders.terminal(item.id, item.attempt, system=system)
        return view.job_record(item, reason, folders.logs, path)

    def _row(self, item: Job | Array) -> Record:
        if isinstance(item, Array):
            return view.array_row(item, self._scheduler.reason(item) or item.reason)
        return self.record(item)

    async def history(
        self, peer: Peer, which: HistoryFilter, *, cursor: str | None, limit: int
    ) -> Record:
        """A page of ended jobs, latest end first."""
        users = None if which.users is None else [*map(self._user_word, which.users)]
        answer = await self._reactor.persister.query(
            "history",
            {
                "ids": which.ids,
                "users": users,
                "states": which.states,
                "names": which.names,
                "projects": which.projects,
                "since": which.finished_since,
                "until": which.finished_before,
                "limit": limit,
                "cursor": _history_cursor(cursor),
            },
        )
        found = []
        turn = Turn()
        for key, record in answer.records:
            assert isinstance(record, dict)
            item = codec.decode(key, record)
            if view.has_row(item):
                found.append(self._past_record(item))
            await turn.breathe()
        following = answer.value.get("cursor")
        return {"jobs": found, "next": following and f"{following[0]!r}_{following[1]}"}

    def _user_word(self, word: str) -> str:
        return self._reactor.directory.names.get(int(word), word) if word.isdigit() else word

    def _past_record(self, item: Job | Array) -> Record:
        if isinstance(item, Array):
            return view.array_record(item, item.reason)
        return view.job_record(item, item.reason, self._reactor.folders.logs)

    async def job(self, peer: Peer, job_id: int) -> Record:
        """The record, from history too."""
        item = self._scheduler.item(job_id)
        if item is not None:
            return self.record(item)
        waiting = self._scheduler.waiting_task(job_id)
        if waiting is not None:
            array, position = waiting
            return view.waiting_task_record(
                array, position, self._scheduler.reason(array), self._reactor.folders.logs
            )
        record = await self._reactor.from_history(job_id)
        if record is None:
            raise no_such_job(job_id)
        key: Key = ("array" if "size" in record else "job", job_id)
        return self._past_record(codec.decode(key, record))

    async def wait_ended(self, peer: Peer, job_id: int, timeout_s: float) -> Record:
        """The record as soon as the job has ended, or as it is when the time is over."""
        record = await self.job(peer, job_id)
        if record["state"] in TERMINAL:
            return record
        await self._reactor.ended(job_id, timeout_s)
        return await self.job(peer, job_id)

    async def transitions(self, peer: Peer, job_id: int) -> Record:
        """What the job went through, oldest first; those that are not saved yet included."""
        record = await self.job(peer, job_id)
        found: dict[int, Record] = {
            0: {
                "at": record["submitted_at"],
                "from": None,
                "to": State.PENDING.value,
                "cause": "submitted",
                "uid": record["uid"],
            }
        }
        after, more = -1, True
        while more:
            answer = await self._reactor.persister.query(
                "transitions", {"id": job_id, "after": after}
            )
            for key, transition in answer.records:
                assert isinstance(transition, dict)
                after = int(key[2])
                found[after] = transition
            more = bool(answer.value.get("more"))
        found.update(self._scheduler.unsaved_transitions(job_id))
        names = {uid: await self._name_of(uid) for uid in {one["uid"] for one in found.values()}}
        return {
            "transitions": [
                {**found[number], "user": names[found[number]["uid"]]} for number in sorted(found)
            ]
        }

    async def _name_of(self, uid: int | None) -> str | None:
        """Name of a user, asked for if need be; None for nobody."""
        if uid is None:
            return None
        try:
            return self.user_name(uid) or (await self.account(uid))[0]
        except Refused:
            return str(uid)


def _cursor(text: str | None) -> int:
    if text is None:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refused(Refused.INVALID, "cannot take the request: cursor is not one of ours")
    return int(text)


def _history_cursor(text: str | None) -> tuple[float, int] | None:
    if text is None:
        return None
    at, _, job_id = text.partition("_")
    try:
        return float(at), int(job_id)
    except ValueError:
        raise Refused(
            Refused.INVALID, "cannot take the request: cursor is not one of ours"
        ) from None

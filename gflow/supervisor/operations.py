"""What the API's server may ask: each request becomes events for the core, and an answer."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import gflow
from gflow.api.feed import Feed
from gflow.api.operations import (
    Action,
    HistoryFilter,
    JobFilter,
    JobReference,
    LogSlice,
    Peer,
    Record,
    Submission,
)
from gflow.api.server.turn import Turn
from gflow.errors import Refused
from gflow.launching import request
from gflow.model import event
from gflow.model.job import Array, Job, Spec
from gflow.model.record import Key
from gflow.model.state import LIVE, TERMINAL, State
from gflow.scheduling import codec, numbering
from gflow.supervisor import access, report, view
from gflow.supervisor.outlook import OutlookOperations
from gflow.supervisor.policy import PolicyOperations
from gflow.supervisor.reactor import Reactor
from gflow.supervisor.status import describe, metrics

#: Specs admitted in one turn: about a millisecond.
_SLICE_SPECS = 25
#: Items looked at between two chances for others.
_PAGE = 100
#: Submissions of a user that ``@`` and ``@~n`` reach back to.
_REMEMBERED = 100
#: Idempotency keys remembered; the oldest are forgotten first.
_REQUESTS = 100_000

_EVENTS: dict[Action, Callable[[int, int, bool], event.Event]] = {
    Action.CANCEL: lambda job_id, uid, admin: event.Cancel(job_id, uid),
    Action.HOLD: lambda job_id, uid, admin: event.Hold(job_id, uid, admin),
    Action.RELEASE: lambda job_id, uid, admin: event.Release(job_id, uid, admin),
    Action.REQUEUE: lambda job_id, uid, admin: event.Requeue(job_id, uid),
    Action.SUSPEND: lambda job_id, uid, admin: event.Suspend(job_id, uid),
    Action.RESUME: lambda job_id, uid, admin: event.Resume(job_id, uid),
}


class SupervisorOperations(PolicyOperations, OutlookOperations):
    """Implements :class:`gflow.api.operations.Operations` on the reactor."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._scheduler = reactor.scheduler
        #: Idempotency keys: (uid, key) → ids of the submission.
        self._requests: dict[tuple[int, str], tuple[int, ...]] = {}
        #: Keys of requests that are being admitted.
        self._under_way: dict[tuple[int, str], asyncio.Future[None]] = {}
        self._latest: dict[int, deque[int]] = {}

    def remember(self) -> None:
        """Learn keys and latest submissions from what was loaded."""
        known: dict[tuple[int, str], list[int]] = {}
        after = -1
        while items := self._scheduler.page(after, 1000):
            after = items[-1].id
            for item in items:
                if isinstance(item, Job) and item.array_id is not None:
                    continue
                spec = item.spec
                if spec.request is not None:
                    known.setdefault((spec.uid, spec.request), []).append(item.id)
                self._note_latest(spec.uid, (item.id,))
        for key, ids in known.items():
            self._requests[key] = tuple(ids)

    def _note_latest(self, uid: int, ids: Sequence[int]) -> None:
        self._latest.setdefault(uid, deque(maxlen=_REMEMBERED)).extend(ids)

    @property
    def feed(self) -> Feed:
        """Events of all jobs."""
        return self._reactor.feed

    def user_name(self, uid: int) -> str | None:
        """Name of a user, from memory alone; asked for in the background when it is not known."""
        return self._reactor.user_name(uid)

    async def account(self, uid: int) -> tuple[str, int]:
        """Name and primary group of a user, asked for if need be."""
        return await self._reactor.account(uid)

    # --- finding --------------------------------------------------------------------------------

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
            raise _no_such_job(job_id)
        return job_id

    async def _task_id(self, array_id: int, task: int) -> int | None:
        if self._scheduler.array(array_id) is not None:
            return self._scheduler.task_id(array_id, task)
        record = await self._reactor.from_history(array_id)
        if record is None:
            raise _no_such_job(array_id)
        array = codec.decode(("array", array_id), record)
        if not isinstance(array, Array) or array.spec.array is None:
            return None
        position = numbering.position_of(array.spec.array, task)
        return None if position is None else array_id + 1 + position

    # --- submission -----------------------------------------------------------------------------

    async def submit(
        self, peer: Peer, submissions: Sequence[Submission], *, wait: bool, key: str | None
    ) -> Record:
        """Admit everything or nothing; see the protocol."""
        if key is None:
            ids, position = await self._admit(peer, submissions)
            return await self._submitted(ids, position, wait)
        ids = await self._once((peer.uid, key), lambda: self._admit(peer, submissions))
        # The first answer may not have been durable; by now it is, or this waits for it.
        return await self._submitted(ids, self._reactor.persister.link.add(()), wait)

    async def _once(
        self, key: tuple[int, str], admit: Callable[[], Awaitable[tuple[tuple[int, ...], int]]]
    ) -> tuple[int, ...]:
        """Ids of the first request with this key; later ones wait for it."""
        while (under_way := self._under_way.get(key)) is not None:
            await asyncio.wait({under_way})
        if key in self._requests:
            return self._requests[key]
        done = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            ids, _ = await admit()
        finally:
            del self._under_way[key]
            done.set_result(None)
        self._requests[key] = ids
        while len(self._requests) > _REQUESTS:
            del self._requests[next(iter(self._requests))]
        return ids

    async def _submitted(self, ids: tuple[int, ...], position: int, wait: bool) -> Record:
        answer: Record = {"job_ids": list(ids), "durable": await self._durable(position, wait)}
        array = self._scheduler.array(ids[0]) if len(ids) == 1 else None
        if array is not None:
            answer["array_tasks"] = array.size
        return answer

    async def _ends_in_history(self, specs: Sequence[Spec]) -> dict[int, State]:
        """Terminal states of parents that have left memory."""
        ended: dict[int, State] = {}
        for spec in specs:
            for dependency in spec.dependencies:
                for parent in dependency.jobs:
                    if parent in ended or self._scheduler.knows(parent):
                        continue
                    record = await self._reactor.from_history(parent)
                    if record is not None:
                        ended[parent] = State(record["state"])
        return ended

    async def _admit(
        self, peer: Peer, submissions: Sequence[Submission]
    ) -> tuple[tuple[int, ...], int]:
        """Check, reserve ids, admit: one request at a time, so that nothing comes in between."""
        specs, data = _parts(submissions)
        ended = await self._ends_in_history(specs)
        async with self._reactor.admission:
            refusal = self._reactor.persister.link.refusal()
            if refusal is not None:
                raise Refused(Refused.UNAVAILABLE, refusal)
            await self._check(specs, data, ended)
            await self._reactor.reserve_ids(self._scheduler.ids_needed(specs))
            holds = ["user" if one.hold else None for one in submissions]
            ids, position = await self._admit_slices(peer, specs, holds, data, ended)
        self._note_latest(peer.uid, ids)
        return ids, position

    async def rehearse(self, peer: Peer, submissions: Sequence[Submission]) -> Record:
        """Check as a submission would be, and count what it would make."""
        specs, data = _parts(submissions)
        await self._check(specs, data, await self._ends_in_history(specs))
        arrays = sum(spec.array is not None for spec in specs)
        return {"jobs": len(specs), "tasks": self._scheduler.ids_needed(specs) - arrays}

    async def _check(
        self, specs: Sequence[Spec], data: Mapping[str, bytes], ended: Mapping[int, State]
    ) -> None:
        self._reactor.blobs.check(data)
        live = sum(count for state, count in self._scheduler.counts().items() if state in LIVE)
        limit = self._reactor.config["limits"]["max_live_jobs"]
        if live + len(specs) > limit:
            raise Refused(
                Refused.UNAVAILABLE,
                f"cannot submit: {live} jobs wait or run already, the limit is {limit}",
            )
        turn = Turn()
        counts = Counter[tuple[str, str]]()
        for start in range(0, len(specs), _SLICE_SPECS):
            some = tuple(specs[start : start + _SLICE_SPECS])
            self._scheduler.check(some, ended)
            counts.update(self._scheduler.pending_counts(some))
            await turn.breathe()
        # The limits of pending jobs hold for the whole list, before any of it is admitted.
        self._scheduler.check_pending(counts)

    async def _admit_slices(
        self,
        peer: Peer,
        specs: Sequence[Spec],
        holds: Sequence[str | None],
        data: Mapping[str, bytes],
        ended: Mapping[int, State],
    ) -> tuple[tuple[int, ...], int]:
        """Admit in slices; the records are saved together, whole or not at all."""
        reactor = self._reactor
        ids: list[int] = []
        actions: list[Any] = []
        gathered: dict[Key, None] = {}
        turn = Turn()
        reactor.hold_back(gathered)
        try:
            for start in range(0, len(specs), _SLICE_SPECS):
                # What the last slice asks for is done in the turn in which it is saved; what those
                # before it ask for would make that turn a long one.
                reactor.perform(actions)
                actions = []
                stop = min(start + _SLICE_SPECS, len(specs))
                submit = event.Submit(
                    tuple(specs[start:stop]),
                    peer.uid,
                    tuple(holds[start:stop]),
                    more=stop < len(specs),
                    ended=tuple(ended.items()),
                )
                some, actions = reactor.admit(submit, data, gathered)
                ids += some
                if stop < len(specs):
                    await turn.breathe()
        except Refused:
            # Checked a moment ago and refused now: the machine has changed in between.
            for job_id in ids:
                reactor.step(event.Cancel(job_id, peer.uid, reason="its list was refused"))
            raise
        finally:
            reactor.hold_back(None)
            position = reactor.finish(actions, gathered, atomic=len(specs) > 1)
        return tuple(ids), position

    async def _durable(self, position: int, wait: bool) -> bool:
        persister = self._reactor.persister
        if not wait:
            return persister.link.durable >= position
        timeout_s: float = self._reactor.config["persistence"]["ack_timeout_s"]
        return await persister.durable(position, timeout_s)

    # --- looking --------------------------------------------------------------------------------

    async def jobs(self, peer: Peer, which: JobFilter, *, cursor: str | None, limit: int) -> Record:
        """A page of jobs in memory, by id."""
        after = _cursor(cursor)
        found: list[Record] = []
        turn = Turn()
        async for item in self._matching(which, after):
            found.append(self._row(item))
            after = item.id
            if len(found) == limit:
                return {"jobs": found, "next": str(after)}
            await turn.breathe()
        return {"jobs": found, "next": None}

    async def _matching(self, which: JobFilter, after: int) -> AsyncIterator[Job | Array]:
        """Items that the filter means, ascending by id, others may run in between."""
        test = _Test(which)
        turn = Turn()
        if which.ids is not None:
            for job_id in sorted(set(which.ids)):
                if job_id > after:
                    for item in self._by_id(job_id):
                        if test.accepts(item):
                            yield item
                await turn.breathe()
            return
        user = which.users[0] if which.users is not None and len(which.users) == 1 else None
        if user is not None and user.isdigit():
            user = None
        while items := self._scheduler.page(after, _PAGE, user):
            after = items[-1].id
            for item in items:
                if test.accepts(item):
                    yield item
            await turn.breathe()

    def _by_id(self, job_id: int) -> list[Job | Array]:
        """The item of an id, and of an array the tasks that have a Job of their own."""
        item = self._scheduler.item(job_id)
        if isinstance(item, Array):
            return [item, *self._scheduler.tasks(job_id)]
        return [] if item is None else [item]

    def record(self, item: Job | Array) -> Record:
        """The record of an item in memory, as users see it."""
        reason: str | None = self._scheduler.reason(item) or item.reason
        if isinstance(item, Array):
            return view.array_record(item, reason)
        return view.job_record(item, reason, self._reactor.folders.logs)

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
        return self._reactor.users.get(int(word), word) if word.isdigit() else word

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
            raise _no_such_job(job_id)
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

    # --- changing -------------------------------------------------------------------------------

    async def update(
        self, peer: Peer, job_id: int, changes: Mapping[str, Any], *, wait: bool
    ) -> Record:
        """Change fields of one job."""
        self._check_owner(peer, job_id, "update")
        position = self._reactor.step(
            event.Update(job_id, peer.uid, dict(changes), self._is_admin(peer))
        )
        self._reactor.tell(job_id, "update")
        durable = await self._durable(position, wait)
        return {"job": await self.job(peer, job_id), "durable": durable}

    async def act(
        self,
        peer: Peer,
        action: Action,
        which: JobFilter,
        *,
        wait: bool,
        signal: int | None = None,
        tree: bool = False,
    ) -> Record:
        """Do the same to every job that the filter means; one refusal stops no other."""
        done: list[int] = []
        refused: list[Record] = []
        position = 0
        turn = Turn()
        for job_id in await self._targets(peer, which):
            try:
                position = max(position, await self._act_on(peer, action, job_id, signal, tree))
                done.append(job_id)
            except Refused as error:
                refused.append({"id": job_id, "kind": error.kind, "message": str(error)})
            await turn.breathe()
        durable = await self._durable(position, wait)
        return {"job_ids": done, "refused": refused, "durable": durable}

    async def _targets(self, peer: Peer, which: JobFilter) -> list[int]:
        """Ids that an action means. Named ids stay as they are: an array is asked as a whole."""
        if which.ids is not None:
            narrowed = replace(which, ids=None, ended=True)
            if (which.users, which.states, which.names, which.projects) == (None,) * 4:
                return list(dict.fromkeys(which.ids))
            test = _Test(narrowed)
            items = ((job_id, self._scheduler.item(job_id)) for job_id in which.ids)
            return [job_id for job_id, item in items if item is None or test.accepts(item)]
        if which.users is None:
            which = replace(which, users=(str(peer.uid),))
        found: list[int] = []
        async for item in self._matching(which, -1):
            found.append(item.id)
        return found

    async def _act_on(
        self, peer: Peer, action: Action, job_id: int, signal: int | None, tree: bool
    ) -> int:
        self._check_owner(peer, job_id, action.value)
        if action is Action.SIGNAL:
            assert signal is not None
            return self._reactor.step(event.SendSignal(job_id, peer.uid, signal, tree))
        if action is Action.REQUEUE:
            await self._reactor.prepare_requeue(job_id)
        # In user mode one is one's own admin: what one holds is a user's hold, and any hold may go.
        admin = self._is_admin(peer) and (self._system or action is Action.RELEASE)
        happened = _EVENTS[action](job_id, peer.uid, admin)
        position = self._reactor.step(happened)
        if action in (Action.HOLD, Action.RELEASE):
            self._reactor.tell(job_id, action.value)
        return position

    @property
    def _system(self) -> bool:
        return access.is_system(self._reactor)

    def _is_admin(self, peer: Peer) -> bool:
        return access.is_admin(self._reactor, peer)

    def _check_owner(self, peer: Peer, job_id: int, verb: str) -> None:
        if self._is_admin(peer):
            return
        item = self._scheduler.item(job_id)
        waiting = self._scheduler.waiting_task(job_id)
        spec = item.spec if item is not None else waiting[0].spec if waiting else None
        if spec is not None and spec.uid != peer.uid:
            raise Refused(
                Refused.FORBIDDEN, f"cannot {verb} job {job_id}: it belongs to {spec.user}"
            )

    # --- output ---------------------------------------------------------------------------------

    async def log(
        self, peer: Peer, job_id: int, *, stream: str, offset: int, limit_bytes: int
    ) -> LogSlice:
        """Output from ``offset`` on, read by a one-shot reader."""
        record = await self.job(peer, job_id)
        if not self._is_admin(peer) and record["uid"] != peer.uid:
            raise Refused(
                Refused.FORBIDDEN, f"cannot read the log of job {job_id}: it is {record['user']}'s"
            )
        path = record["error_path" if stream == "error" else "output_path"]
        if path is None and stream == "error":
            path = record["output_path"]
        if path is None:
            raise Refused(
                Refused.CONFLICT,
                f"cannot read the log of array {job_id}: name one of its tasks, {job_id}_N",
            )
        ended = record["state"] in TERMINAL
        reader = (record["user"], record["uid"], record["gid"]) if self._system else None
        try:
            facts, data = await self._reactor.launcher.read(
                lambda number: request.read_file(
                    number, path, offset=offset, limit=limit_bytes, reader=reader
                )
            )
        except Refused as error:
            if error.kind == Refused.NOT_FOUND and not (ended and record["attempt"]):
                return LogSlice(b"", max(offset, 0), 0, ended)
            raise
        return LogSlice(data, facts["offset"], facts["size"], ended)

    # --- the service ----------------------------------------------------------------------------

    async def status(self, peer: Peer) -> Record:
        """The shape of ``status --json``."""
        return describe(self._reactor)

    async def report(
        self,
        peer: Peer,
        *,
        by: Sequence[str],
        since: float | None,
        before: float | None,
        user: str | None,
        project: str | None,
    ) -> Record:
        """Sums over ended jobs, from the store."""
        name = None if user is None else self._user_word(user)
        asked = report.question(by, since, before, name, project)
        answer = await self._reactor.persister.query("summary", asked)
        return {"by": list(by), "rows": report.rows(answer.value, by)}

    async def metrics(self, peer: Peer) -> str:
        """The text of ``/v1/metrics``."""
        return metrics(self._reactor)

    async def ping(self, peer: Peer) -> Record:
        """At once."""
        return {"version": gflow.__version__, "pid": os.getpid()}

    async def backup(self, peer: Peer, path: str) -> Record:
        """A copy of the store at an absolute path."""
        self._require_admin(peer, "back up the store")
        answer = await self._reactor.persister.query("backup", {"path": path})
        return dict(answer.value)

    async def check(self, peer: Peer) -> Record:
        """Look over the store."""
        self._require_admin(peer, "check the store")
        answer = await self._reactor.persister.query("check", {})
        return dict(answer.value)

    def _require_admin(self, peer: Peer, what: str) -> None:
        access.require_admin(self._reactor, peer, what)


def _parts(submissions: Sequence[Submission]) -> tuple[list[Spec], dict[str, bytes]]:
    """The specs, and all blobs that they name."""
    data: dict[str, bytes] = {}
    for submission in submissions:
        data.update(submission.blobs)
    return [submission.spec for submission in submissions], data


class _Test:
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


def _no_such_job(job_id: int) -> Refused:
    return Refused(Refused.NOT_FOUND, f"cannot find job {job_id}: there is no such job")


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

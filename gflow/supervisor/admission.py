"""What may be submitted: a list is admitted whole or not at all, in short turns."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gflow.api import moment
from gflow.api.operations import Peer, Record, Submission
from gflow.api.quantity import GrammarError
from gflow.api.server.turn import Turn
from gflow.errors import Refused
from gflow.model import event
from gflow.model.action import Action
from gflow.model.job import Job, Spec
from gflow.model.record import Key
from gflow.model.state import LIVE, State
from gflow.supervisor import clock, project
from gflow.supervisor.reactor import Reactor

#: Specs (or jobs) checked or taken in in one turn: about a millisecond.
_SLICE = 25
#: Submissions of a user that ``@`` and ``@~n`` reach back to.
_REMEMBERED = 100
#: Idempotency keys remembered; the oldest are forgotten first.
_REQUESTS = 100_000


class AdmissionOperations:
    """The part of the operations that takes jobs in."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._scheduler = reactor.scheduler
        #: Idempotency keys: (uid, key) → ids of the submission.
        self._requests: dict[tuple[int, str], tuple[int, ...]] = {}
        #: Keys of requests that are being admitted.
        self._under_way: dict[tuple[int, str], asyncio.Future[None]] = {}
        #: uid → its latest submissions.
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

    async def submit(
        self, peer: Peer, submissions: Sequence[Submission], *, wait: bool, key: str | None
    ) -> Record:
        """Admit everything or nothing; see the protocol."""
        if key is None:
            ids, position = await self._admit(peer, submissions)
        else:
            ids = await self._once((peer.uid, key), lambda: self._admit(peer, submissions))
            # The first answer may not have been durable; by now it is, or this waits for it.
            position = self._reactor.persister.link.add(())
        answer = await self._submitted(ids, position, wait)
        advice = self._reactor.habits.advice([one.spec for one in submissions])
        return {**answer, "advice": advice} if advice else answer

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
        answer: Record = {
            "job_ids": list(ids),
            "durable": await self._reactor.durable(position, wait),
        }
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
            await self._reactor.ids.reserve(self._scheduler.ids_needed(specs))
            holds = ["user" if one.hold else None for one in submissions]
            ids, position = await self._admit_slices(peer, specs, holds, data, ended)
        self._note_latest(peer.uid, ids)
        return ids, position

    async def rehearse(self, peer: Peer, submissions: Sequence[Submission]) -> Record:
        """Check as a submission would be, and count what it would make."""
        specs, data = _parts(submissions)
        await self._check(specs, data, await self._ends_in_history(specs))
        return {"jobs": len(specs), "tasks": self._tasks(specs)}

    def _tasks(self, specs: Sequence[Spec]) -> int:
        """How many of these would run: an array is all its tasks."""
        arrays = sum(spec.array is not None for spec in specs)
        return self._scheduler.ids_needed(specs) - arrays

    async def _check(
        self, specs: Sequence[Spec], data: Mapping[str, bytes], ended: Mapping[int, State]
    ) -> None:
        self._reactor.blobs.check(data)
        live = sum(count for state, count in self._scheduler.counts().items() if state in LIVE)
        limit = self._reactor.config["limits"]["max_live_jobs"]
        if live + self._tasks(specs) > limit:
            raise Refused(
                Refused.UNAVAILABLE,
                f"cannot submit: {live} jobs wait or run already, the limit is {limit} "
                "([limits] max_live_jobs)",
            )
        turn = Turn()
        counts = Counter[tuple[str, str]]()
        for start in range(0, len(specs), _SLICE):
            some = tuple(specs[start : start + _SLICE])
            self._scheduler.check(some, ended)
            for spec in some:
                check_begin(spec.begin_at, "submit")
                project.check(self._reactor.config, spec.project)
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
        reactor = self._reactor
        ids: list[int] = []

        def decide(start: int, stop: int, gathered: dict[Key, None]) -> list[Action]:
            submit = event.Submit(
                tuple(specs[start:stop]),
                peer.uid,
                tuple(holds[start:stop]),
                more=stop < len(specs),
                ended=tuple(ended.items()),
            )
            some, actions = reactor.admit(submit, data, gathered)
            ids.extend(some)
            return actions

        def undo() -> None:
            # Checked a moment ago and refused now: the machine has changed in between.
            for job_id in ids:
                reactor.step(event.Cancel(job_id, peer.uid, reason="its list was refused"))

        position = await self._in_slices(len(specs), decide, undo)
        return tuple(ids), position

    async def _in_slices(
        self,
        count: int,
        decide: Callable[[int, int, dict[Key, None]], list[Action]],
        undo: Callable[[], None] | None = None,
    ) -> int:
        """Take ``count`` things in, some in each turn; the position of their records.

        Those are saved together, whole or not at all. ``decide`` gets start, stop, and where the
        changed keys are gathered; ``undo`` is for what came before one that is refused.
        """
        reactor = self._reactor
        actions: list[Action] = []
        gathered: dict[Key, None] = {}
        turn = Turn()
        reactor.hold_back(gathered)
        try:
            for start in range(0, count, _SLICE):
                # What the last slice asks for is done in the turn in which it is saved; what those
                # before it ask for would make that turn a long one.
                reactor.perform(actions)
                actions = []
                stop = min(start + _SLICE, count)
                actions = decide(start, stop, gathered)
                if stop < count:
                    await turn.breathe()
        except Refused:
            if undo is not None:
                undo()
            raise
        finally:
            reactor.hold_back(None)
            position = reactor.finish(actions, gathered, atomic=count > 1)
        return position


def check_begin(begin_at: float | None, verb: str) -> None:
    """Refuse a begin time that has passed by more than clocks may differ."""
    if begin_at is None:
        return
    try:
        moment.check_begin(begin_at, clock.now().wall_s)
    except GrammarError as error:
        raise Refused(Refused.INVALID, f"cannot {verb}: the begin time {error}") from None


def _parts(submissions: Sequence[Submission]) -> tuple[list[Spec], dict[str, bytes]]:
    """The specs, and all blobs that they name."""
    data: dict[str, bytes] = {}
    for submission in submissions:
        data.update(submission.blobs)
    return [submission.spec for submission in submissions], data

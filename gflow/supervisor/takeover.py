"""What may be taken over from another scheduler: jobs with their ids, limits, use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gflow.api.operations import Peer, Policy, Record
from gflow.api.server.turn import Turn
from gflow.errors import Refused
from gflow.model import event
from gflow.model.action import Action, Taken
from gflow.model.job import Job
from gflow.model.record import Key
from gflow.model.state import State
from gflow.supervisor import access, history
from gflow.supervisor.admission import AdmissionOperations

#: Ids looked up in history by one question.
_LOOKED_UP = 200


class TakeoverOperations(AdmissionOperations):
    """The part of the operations that takes jobs in, those of another scheduler too."""

    @property
    def own_identity(self) -> tuple[int, int] | None:
        """(uid, gid) that every job runs as; None: each as its submitter."""
        system = access.is_system(self._reactor)
        return None if system else (os.getuid(), os.getgid())

    async def take_jobs(self, peer: Peer, jobs: Sequence[Job], *, dry_run: bool) -> Record:
        """Take in those that are not here yet; see the protocol."""
        access.require_admin(self._reactor, peer, "import jobs")
        reactor = self._reactor
        async with reactor.admission:
            known = await self._known(jobs)
            new = [job for job in jobs if job.id not in known]
            if access.is_system(reactor):
                _hold_all(new)
            answer: Record = {"job_ids": [job.id for job in new], "known": len(known)}
            if dry_run or not new:
                return {**answer, "durable": True}
            refusal = reactor.persister.link.refusal()
            if refusal is not None:
                raise Refused(Refused.UNAVAILABLE, refusal)
            ended = await self._ends_in_history([job.spec for job in new])
            await self._reserve_below(max(job.id for job in new) + 1)
            position = await self._take_slices(peer, new, tuple(ended.items()))
        for job in new:
            self._note_latest(job.spec.uid, (job.id,))
        return {**answer, "durable": await reactor.durable(position, True)}

    async def _reserve_below(self, next_id: int) -> None:
        """Have a floor committed that is above all of these ids."""
        missing = next_id - self._reactor.scheduler.next_id
        if missing > 0:
            await self._reactor.ids.reserve(missing)

    async def _known(self, jobs: Sequence[Job]) -> set[int]:
        """Ids of jobs that are here already; CONFLICT when one of them means another job here."""
        scheduler = self._reactor.scheduler
        found: dict[int, Any] = {}
        elsewhere: list[int] = []
        turn = Turn()
        for job in jobs:
            item = scheduler.item(job.id)
            if item is not None:
                found[job.id] = item.submitted_at
            elif scheduler.knows(job.id):
                found[job.id] = None  # a task of an array
            else:
                elsewhere.append(job.id)
            await turn.breathe()
        for start in range(0, len(elsewhere), _LOOKED_UP):
            found.update(await self._submitted_at(elsewhere[start : start + _LOOKED_UP]))
        for job in jobs:
            if job.id in found and found[job.id] != job.submitted_at:
                raise Refused(
                    Refused.CONFLICT,
                    f"cannot import job {job.id}: another job has that id here; import into a "
                    "supervisor without jobs of its own (--state-dir)",
                )
        return set(found)

    async def _submitted_at(self, ids: Sequence[int]) -> dict[int, Any]:
        """When jobs that left memory were submitted, by id."""
        found: dict[int, Any] = {}
        asked = {"ids": list(ids), "limit": 500}
        async for answer in history.pages(self._reactor.persister, asked):
            for key, record in answer.records:
                assert isinstance(record, dict)
                found[int(key[1])] = record.get("submitted_at")
        return found

    async def _take_slices(
        self, peer: Peer, jobs: Sequence[Job], ended: tuple[tuple[int, State], ...]
    ) -> int:
        def decide(start: int, stop: int, gathered: dict[Key, None]) -> list[Action]:
            some, more = tuple(jobs[start:stop]), stop < len(jobs)
            take = event.TakeJobs(some, peer.uid, more=more, ended=ended)
            actions, keys = self._reactor.decide(take)
            gathered.update(dict.fromkeys(keys))
            return actions

        return await self._in_slices(len(jobs), decide)

    async def take_policy(self, peer: Peer, policy: Policy) -> Record:
        """Take in what nothing here says otherwise; see the protocol."""
        access.require_admin(self._reactor, peer, "import limits")
        reactor = self._reactor
        async with reactor.admission:
            await self._reserve_below(policy.next_id)
            take = event.TakePolicy(
                peer.uid, policy.next_id, policy.quotas, policy.reservations, policy.use
            )
            actions, keys = reactor.decide(take)
            taken = actions.pop(0)
            assert isinstance(taken, Taken)
            position = reactor.finish(actions, keys)
        return {
            "taken": [what for what, why in taken.findings if why is None],
            "left": [{"what": what, "why": why} for what, why in taken.findings if why],
            "durable": await reactor.durable(position, True),
        }


def _hold_all(jobs: Sequence[Job]) -> None:
    """Where jobs run as their submitters: nobody checked who submitted these, so an admin must."""
    for job in jobs:
        if job.state is State.PENDING:
            job.hold, job.reason = "admin", "imported: who submitted it was never checked"

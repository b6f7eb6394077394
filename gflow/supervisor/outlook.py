"""What may be asked about the future: why a job waits, its place, its start, and what if."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gflow.api.operations import Peer, Record, Submission
from gflow.api.server.turn import Turn
from gflow.errors import Refused
from gflow.model.state import Reason, State
from gflow.supervisor import clock, view
from gflow.supervisor.admission import AdmissionOperations

#: Steps of a forecast between two looks at the time.
_STEPS = 2
#: Specs that a simulation takes.
_SIMULATED = 1000
#: Blockers that a smaller request may get out of the way of.
_SMALLER_HELPS = frozenset(
    {Reason.RESOURCES, Reason.PRIORITY, Reason.RESERVATION, Reason.DRAINED, Reason.QUOTA}
)
#: Delayed jobs that are named.
_NAMED = 100


class OutlookOperations(AdmissionOperations):
    """The part of the operations that decides nothing."""

    async def explain(self, peer: Peer, job_id: int) -> Record:
        """Every blocker, what would let the job start now, and when it may start otherwise."""
        await self._require_known(job_id, "explain")
        scheduler, now = self._reactor.scheduler, clock.now()
        record = view.explanation_record(scheduler.explain(job_id, now))
        if record["state"] != State.PENDING:
            return record
        if record["blockers"]:
            trials = scheduler.remedies(job_id, now)
            await _finished(trials)
            _tell_remedies(record, trials.found)
        play = scheduler.forecast(job_id, now)
        await _finished(play)
        earliest, latest = play.expected_start or (None, None)
        record["expected_start_at"] = {"earliest": earliest, "latest": latest}
        record["position"] = play.position
        if latest is not None:
            scheduler.note_prediction(job_id, latest)
            self._reactor.finish([], scheduler.take_changes())
        return record

    async def priority(self, peer: Peer, job_id: int) -> Record:
        """What the job's place in the order is made of."""
        await self._require_known(job_id, "rank")
        scheduler, now = self._reactor.scheduler, clock.now()
        explanation = scheduler.explain(job_id, now)
        parts = scheduler.priority(job_id, now)
        return {
            "job_id": job_id,
            "state": explanation.state.value,
            "position": explanation.position,
            "points": parts.pop("points"),
            "parts": parts,
        }

    async def _require_known(self, job_id: int, verb: str) -> None:
        if self._reactor.scheduler.knows(job_id):
            return
        record = await self._reactor.from_history(job_id)
        if record is None:
            raise Refused(Refused.NOT_FOUND, f"cannot {verb} job {job_id}: there is no such job")
        raise Refused(
            Refused.CONFLICT, f"cannot {verb} job {job_id}: it has ended ({record['state']})"
        )

    async def simulate(self, peer: Peer, submissions: Sequence[Submission]) -> Record:
        """When each of these would start, and whom they would delay by how much."""
        if len(submissions) > _SIMULATED:
            raise Refused(Refused.TOO_LARGE, f"cannot simulate more than {_SIMULATED} jobs at once")
        if not submissions:
            raise Refused(Refused.INVALID, "cannot simulate: there is no spec, name at least one")
        specs = tuple(submission.spec for submission in submissions)
        await self._check(specs, {}, await self._ends_in_history(specs))
        play = self._reactor.scheduler.what_if(specs, clock.now())
        await _finished(play)
        starts, delayed = play.starts(), play.delayed()
        return {
            "starts_at": starts[0][0],
            "starts": [
                {"name": spec.name, "earliest": earliest, "latest": latest}
                for spec, (earliest, latest) in zip(specs, starts)
            ],
            "complete": play.complete,
            "delayed": [
                {
                    "id": one.id,
                    "before_at": one.before_at,
                    "after_at": one.after_at,
                    "delay_s": None if one.after_at is None else one.after_at - one.before_at,
                }
                for one in delayed[:_NAMED]
            ],
            "delayed_count": len(delayed),
        }


def _tell_remedies(record: Record, found: Sequence[str]) -> None:
    """All of them, and with the first blocker that a smaller request is the way out of."""
    record["remedies"] = list(found)
    for blocker in record["blockers"]:
        if found and blocker["remedy"] is None and blocker["reason"] in _SMALLER_HELPS:
            blocker["remedy"] = " or ".join(found)
            return


class _Play(Protocol):
    def step(self, count: int) -> bool:
        """Go on; whether it is done."""
        ...


async def _finished(play: _Play) -> None:
    """Have it done, in short turns."""
    turn = Turn()
    while not play.step(_STEPS):
        await turn.breathe()

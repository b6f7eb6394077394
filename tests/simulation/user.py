"""Users: random requests through the operations that the API offers, and what they were promised.

A user who got no answer asks again with the same idempotency key, as the commands do.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gflow.api.operations import Action, JobFilter, Peer, Submission
from gflow.errors import Refused
from gflow.model.job import ArraySpec, Dependency, RetryRule, Spec
from gflow.model.resources import Resources
from tests.simulation.machine import CPUS, GPUS
from tests.simulation.supervisor import Supervisor
from tests.simulation.witness import Witness

_PEER = Peer(uid=0, gid=0, pid=1, user="ann")
_ACTIONS = (
    *(Action.CANCEL, Action.CANCEL, Action.HOLD, Action.RELEASE),
    *(Action.REQUEUE, Action.SUSPEND, Action.RESUME),
)


class Asked:
    """One submission: what it asked for and what was answered."""

    def __init__(self, token: str, submissions: list[Submission]) -> None:
        self.token = token
        self.submissions = submissions
        #: Ids of the latest answer; None: there was none.
        self.ids: list[int] | None = None
        self.durable = False


class Users:
    """Everybody who asks for something."""

    def __init__(self, draw: random.Random, witness: Witness) -> None:
        self._draw = draw
        self._witness = witness
        self.asked: list[Asked] = []
        #: Requests that begun or ended so far, and that are under way, by the job they mean.
        self._touched: Counter[int] = Counter()
        self._under_way: Counter[int] = Counter()
        self.refused = 0

    # --- requests -------------------------------------------------------------------------------

    def ask(self, supervisor: Supervisor) -> None:
        """One more request."""
        supervisor.loop.create_task(self._guarded(supervisor))

    async def _guarded(self, supervisor: Supervisor) -> None:
        try:
            await self._request(supervisor)
        except Refused:
            self.refused += 1

    def _request(self, supervisor: Supervisor) -> Coroutine[Any, Any, None]:
        draw = self._draw.random()
        known = self._known()
        if draw < 0.4 or not known:
            return self._submit(supervisor, self._new())
        if draw < 0.5:
            unanswered = [one for one in self.asked if not one.durable]
            if unanswered:
                return self._submit(supervisor, self._draw.choice(unanswered))
        job_id = self._draw.choice(known)
        if draw < 0.6:
            return self._look(supervisor, job_id)
        if draw < 0.7:
            return self._update(supervisor, job_id)
        return self._act(supervisor, self._draw.choice(_ACTIONS), job_id)

    def _known(self) -> list[int]:
        return [job_id for one in self.asked for job_id in one.ids or ()]

    async def _submit(self, supervisor: Supervisor, asked: Asked) -> None:
        wait = self._draw.random() < 0.8
        answer = await supervisor.operations.submit(
            _PEER, asked.submissions, wait=wait, key=asked.token
        )
        if asked.durable:
            assert answer["job_ids"] == asked.ids, f"{asked.token} was admitted twice"
        asked.ids = answer["job_ids"]
        if answer["durable"]:
            asked.durable = True
            self._check_stored(asked)

    def _check_stored(self, asked: Asked) -> None:
        assert asked.ids is not None
        for job_id in asked.ids:
            record = self._witness.stored(job_id)
            assert record is not None, f"job {job_id} was acknowledged and is not stored"
            assert record["spec"]["request"] == asked.token, f"job {job_id} is another one"

    async def _look(self, supervisor: Supervisor, job_id: int) -> None:
        durable = any(one.durable and job_id in (one.ids or ()) for one in self.asked)
        try:
            await supervisor.operations.job(_PEER, job_id)
        except Refused as error:
            lost = durable and error.kind == Refused.NOT_FOUND
            assert not lost, f"job {job_id} was acknowledged and cannot be found"
            raise

    async def _update(self, supervisor: Supervisor, job_id: int) -> None:
        priority = self._draw.randrange(20)
        with self._touch(job_id) as undisturbed:
            answer = await supervisor.operations.update(
                _PEER, job_id, {"priority": priority}, wait=True
            )
            if answer["durable"] and undisturbed():
                record = self._witness.stored(job_id)
                assert record is not None and record.get("priority", 10) == priority, job_id

    async def _act(self, supervisor: Supervisor, action: Action, job_id: int) -> None:
        with self._touch(job_id) as undisturbed:
            answer = await supervisor.operations.act(
                _PEER, action, JobFilter(ids=(job_id,)), wait=True
            )
            if answer["job_ids"] and answer["durable"] and undisturbed():
                self._check_done(action, job_id)

    def disturb(self, job_ids: list[int]) -> None:
        """Somebody else asks for something that means these jobs."""
        self._touched.update(job_ids)

    @contextmanager
    def _touch(self, job_id: int) -> Iterator[Callable[[], bool]]:
        """Around a request; whether it was the only one that meant this job."""
        self._touched[job_id] += 1
        turn, alone = self._touched[job_id], not self._under_way[job_id]
        self._under_way[job_id] += 1
        try:
            yield lambda: alone and self._touched[job_id] == turn
        finally:
            self._under_way[job_id] -= 1
            self._touched[job_id] += 1

    def _check_done(self, action: Action, job_id: int) -> None:
        record = self._witness.stored(job_id)
        assert record is not None, f"job {job_id} is gone after {action.value}"
        if "size" in record:
            return
        if action is Action.CANCEL:
            assert record.get("final") or record.get("kill_cause"), f"job {job_id} lives on"
        elif action is Action.HOLD and record.get("state", "PENDING") == "PENDING":
            assert record.get("hold") is not None, f"job {job_id} is not held: {record}"
        elif action is Action.RELEASE:
            assert record.get("hold") is None, f"job {job_id} is held"

    # --- specs ----------------------------------------------------------------------------------

    def _new(self) -> Asked:
        token = f"request-{len(self.asked) + 1}"
        count = self._draw.choice((1, 1, 1, 1, 1, 1, 2, 2, 5, 30))
        submissions = [self._submission(token, plain=count > 5) for _ in range(count)]
        asked = Asked(token, submissions)
        self.asked.append(asked)
        return asked

    def _submission(self, token: str, *, plain: bool) -> Submission:
        draw = self._draw
        code = draw.choice((0, 0, 0, 1, 75, 137))
        spec = Spec(
            name=draw.choice(("train", "test")),
            user=draw.choice(("ann", "bob")),
            uid=0,
            gid=0,
            command=("job", token, str(code)),
            cwd="/",
            time_limit_s=draw.choice((None, None, 10.0, 100.0)),
            grace_period_s=draw.choice((None, 0.0, 3.0)),
            request=token,
        )
        if plain:
            return Submission(spec)
        spec = replace(
            spec,
            resources=Resources(
                cpus=draw.choice((1, 1, 2, CPUS)), gpus=draw.choice((0, 0, 1, 1, GPUS))
            ),
            requeue=draw.random() < 0.3,
            linger=draw.random() < 0.1,
            dependencies=self._dependencies(),
            kill_on_invalid_dependency=draw.random() < 0.5,
        )
        if draw.random() < 0.2:
            spec = replace(spec, retries=(RetryRule("any", 2),), retry_delay_s=5.0)
        if draw.random() < 0.15:
            limit = draw.choice((None, 1, 2))
            spec = replace(spec, array=ArraySpec(((1, draw.randint(1, 12), 1),), limit))
        blobs = {}
        if draw.random() < 0.5:
            name = f"env-{draw.randrange(5)}"
            spec = replace(spec, env=name)
            blobs[name] = zlib.compress(b'{"A":"b"}')
        return Submission(spec, hold=draw.random() < 0.1, blobs=blobs)

    def _dependencies(self) -> tuple[Dependency, ...]:
        known = self._known()
        if not known or self._draw.random() < 0.7:
            return ()
        kind = self._draw.choice(("afterok", "afterany", "afternotok", "after"))
        return (Dependency(kind, (self._draw.choice(known),)),)

"""What may be done to jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gflow.api.operations import Action, JobFilter, Peer, Record
from gflow.api.server.turn import Turn
from gflow.errors import Refused
from gflow.model import event
from gflow.model.job import Dependency
from gflow.supervisor import access, project
from gflow.supervisor.admission import check_begin
from gflow.supervisor.listing import ListingOperations
from gflow.supervisor.selection import Selection, matching

_EVENTS: dict[Action, Callable[[int, int, bool], event.Event]] = {
    Action.CANCEL: lambda job_id, uid, admin: event.Cancel(job_id, uid),
    Action.HOLD: lambda job_id, uid, admin: event.Hold(job_id, uid, admin),
    Action.RELEASE: lambda job_id, uid, admin: event.Release(job_id, uid, admin),
    Action.REQUEUE: lambda job_id, uid, admin: event.Requeue(job_id, uid),
    Action.SUSPEND: lambda job_id, uid, admin: event.Suspend(job_id, uid),
    Action.RESUME: lambda job_id, uid, admin: event.Resume(job_id, uid),
}


#: How often a change of dependencies is looked at anew because others came in between.
_LOOKS = 5
#: Jobs named in one request up to which unknown ones are looked for in history.
_LOOKED_UP = 100


class ChangeOperations(ListingOperations):
    """The part of the operations that changes what was submitted."""

    async def update(
        self,
        peer: Peer,
        job_id: int,
        changes: Mapping[str, Any],
        *,
        wait: bool,
        blobs: Mapping[str, bytes] = MappingProxyType({}),
    ) -> Record:
        """Change fields of one job."""
        self._check_owner(peer, job_id, "update")
        if "project" in changes:
            project.check(self._reactor.config, changes["project"], "update")
        check_begin(changes.get("begin_at"), f"update job {job_id}")
        self._reactor.blobs.check(blobs)
        try:
            change = event.Update(
                job_id,
                peer.uid,
                dict(changes),
                access.is_admin(self._reactor, peer),
                acyclic=await self._acyclic(job_id, changes.get("dependencies")),
            )
            # One at a time with submissions: what they are about to save may be the same script.
            async with self._reactor.admission if blobs else nullcontext():
                position = self._reactor.change(change, blobs)
        except Refused as error:
            raise await self._explained(error, "update", job_id) from None
        self._reactor.tell(job_id, "update")
        durable = await self._reactor.durable(position, wait)
        return {"job": await self.job(peer, job_id), "durable": durable}

    async def _acyclic(self, job_id: int, wanted: Iterable[Dependency] | None) -> int | None:
        """Refuse dependencies that close a cycle; the chains behind them may be long.

        None when others changed theirs all the while: the core looks itself then.
        """
        for _ in range(_LOOKS if wanted else 0):
            edits = self._scheduler.dependency_edits
            turn = Turn()
            for _ in self._scheduler.check_cycle(job_id, wanted or ()):
                await turn.breathe()
            if edits == self._scheduler.dependency_edits:
                return edits
        return None

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
        targets = await self._targets(peer, which)
        for job_id in targets:
            try:
                position = max(position, await self._act_on(peer, action, job_id, signal, tree))
                done.append(job_id)
            except Refused as refusal:
                error = refusal
                if len(targets) <= _LOOKED_UP:
                    error = await self._explained(refusal, action.value, job_id)
                refused.append({"id": job_id, "kind": error.kind, "message": str(error)})
            await turn.breathe()
        durable = await self._reactor.durable(position, wait)
        return {"job_ids": done, "refused": refused, "durable": durable}

    async def _targets(self, peer: Peer, which: JobFilter) -> list[int]:
        """Ids that an action means. Named ids stay as they are: an array is asked as a whole."""
        if which.ids is not None:
            narrowed = replace(which, ids=None, ended=True)
            if (which.users, which.states, which.names, which.projects) == (None,) * 4:
                return list(dict.fromkeys(which.ids))
            test = Selection(narrowed)
            items = ((job_id, self._scheduler.item(job_id)) for job_id in which.ids)
            return [job_id for job_id, item in items if item is None or test.accepts(item)]
        if which.users is None:
            which = replace(which, users=(str(peer.uid),))
        found: list[int] = []
        async for item in matching(self._scheduler, which):
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
        admin = access.is_admin(self._reactor, peer) and (
            access.is_system(self._reactor) or action is Action.RELEASE
        )
        happened = _EVENTS[action](job_id, peer.uid, admin)
        position = self._reactor.step(happened)
        if action in (Action.HOLD, Action.RELEASE):
            self._reactor.tell(job_id, action.value)
        return position

    async def _explained(self, error: Refused, verb: str, job_id: int) -> Refused:
        """The refusal, truer where the job is not unknown but ended long ago."""
        if error.kind != Refused.NOT_FOUND:
            return error
        try:
            record = await self._reactor.from_history(job_id)
        except Refused:
            return error  # the store is busy or gone, which is not what was asked about
        if record is None:
            return error
        text = f"cannot {verb} job {job_id}: it ended as {record['state']} and is history"
        return Refused(Refused.CONFLICT, text)

    def _check_owner(self, peer: Peer, job_id: int, verb: str) -> None:
        if access.is_admin(self._reactor, peer):
            return
        item = self._scheduler.item(job_id)
        waiting = self._scheduler.waiting_task(job_id)
        spec = item.spec if item is not None else waiting[0].spec if waiting else None
        if spec is not None and spec.uid != peer.uid:
            raise Refused(
                Refused.FORBIDDEN, f"cannot {verb} job {job_id}: it belongs to {spec.user}"
            )

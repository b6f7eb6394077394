"""What may be asked about quotas, groups, reservations and drains."""

from __future__ import annotations

from collections.abc import Mapping

from gflow.api.operations import Peer, Record
from gflow.errors import Refused
from gflow.model import event
from gflow.model.action import Reserved
from gflow.supervisor import access
from gflow.supervisor.reactor import Reactor


class PolicyOperations:
    """The part of the operations that says who may have how much."""

    _reactor: Reactor

    async def quotas(self, peer: Peer) -> Record:
        """Every limit, and what is used of it."""
        return {"quotas": self._reactor.scheduler.quotas()}

    async def set_quota(
        self,
        peer: Peer,
        scope: str,
        name: str,
        limits: Mapping[str, float | None],
        *,
        delete: bool = False,
    ) -> Record:
        """Change the limits of one subject."""
        access.require_admin(self._reactor, peer, "set quotas")
        return await self._saved(event.SetQuota(scope, name, peer.uid, dict(limits), delete))

    async def groups(self, peer: Peer) -> Record:
        """Groups that have a limit or jobs."""
        return {"groups": self._reactor.scheduler.groups()}

    async def set_group(self, peer: Peer, user: str, name: str, max_running: int | None) -> Record:
        """Change the limit of a group: its owner and admins may."""
        if user != (peer.user or str(peer.uid)):
            access.require_admin(self._reactor, peer, f"limit a group of {user}")
        return await self._saved(event.SetGroup(user, name, peer.uid, max_running))

    async def reservations(self, peer: Peer) -> Record:
        """Those that last or are to come."""
        return {"reservations": self._reactor.scheduler.reservations()}

    async def reserve(
        self,
        peer: Peer,
        *,
        start_at: float,
        duration_s: float,
        user: str | None = None,
        project: str | None = None,
        cpus: int = 0,
        gpus: int = 0,
        gpu_ids: tuple[int, ...] = (),
        every_s: float | None = None,
        comment: str | None = None,
    ) -> Record:
        """Keep resources for a user or a project."""
        access.require_admin(self._reactor, peer, "reserve")
        wanted = event.Reserve(
            peer.uid,
            user,
            project,
            start_at,
            duration_s,
            cpus,
            gpus,
            gpu_ids,
            every_s,
            comment,
        )
        actions, keys = self._reactor.decide(wanted)
        made = actions.pop(0)
        assert isinstance(made, Reserved)
        position = self._reactor.finish(actions, keys)
        durable = await self._reactor.durable(position, wait=True)
        return {"reservation_id": made.reservation_id, "durable": durable}

    async def unreserve(self, peer: Peer, reservation_id: int, *, once: bool = False) -> Record:
        """Give a reservation back."""
        access.require_admin(self._reactor, peer, "cancel reservations")
        return await self._saved(event.Unreserve(reservation_id, peer.uid, once))

    async def drain(self, peer: Peer, *, reason: str | None, by_at: float | None = None) -> Record:
        """Start no more jobs, or only those that end in time."""
        access.require_admin(self._reactor, peer, "drain")
        return {"drained": True, **await self._saved(event.Drain(peer.uid, reason, by_at))}

    async def undrain(self, peer: Peer) -> Record:
        """Start jobs again."""
        access.require_admin(self._reactor, peer, "undrain")
        return {"drained": False, **await self._saved(event.Undrain(peer.uid))}

    async def restrict_cards(self, peer: Peer, indices: tuple[int, ...] | None) -> Record:
        """Give out some cards alone."""
        access.require_admin(self._reactor, peer, "choose cards")
        known = {card.index for card in self._reactor.scheduler.capacity.cards or ()}
        strange = sorted(set(indices or ()) - known)
        if strange or indices == ():
            what = f"there is no gpu {strange[0]} on this machine" if strange else "name some"
            raise Refused(Refused.INVALID, f"cannot choose cards: {what}")
        self._reactor.cards.restrict(indices)
        self._reactor.monitor.claim(self._reactor.cards.to_claim())
        return await self._cards_saved()

    async def ignore_process(self, peer: Peer, index: int, pid: int) -> Record:
        """Give a card out although a process is on it."""
        access.require_admin(self._reactor, peer, "ignore processes")
        added = self._reactor.cards.ignore(index, pid)
        if added is None:
            raise Refused(
                Refused.NOT_FOUND, f"cannot ignore process {pid}: it is not on gpu {index}"
            )
        return {"added": added, **await self._cards_saved()}

    async def heed_process(self, peer: Peer, index: int, pid: int) -> Record:
        """Let a process keep its card back again."""
        access.require_admin(self._reactor, peer, "heed processes")
        if not self._reactor.cards.heed(index, pid):
            raise Refused(
                Refused.NOT_FOUND,
                f"cannot heed process {pid} on gpu {index}: it is not ignored there",
            )
        return await self._cards_saved()

    async def _cards_saved(self) -> Record:
        self._reactor.count_again()
        return {"durable": await self._reactor.durable(self._reactor.persister.link.add(()), True)}

    async def _saved(self, happened: event.Event) -> Record:
        return {"durable": await self._reactor.durable(self._reactor.step(happened), wait=True)}

"""Paths by which what another scheduler had comes in."""

from __future__ import annotations

from aiohttp import web

from gflow.api.arrival import Arrivals, policy
from gflow.api.operations import Operations
from gflow.api.server.body import read_items, read_object
from gflow.api.server.connection import Limits
from gflow.api.server.query import Query
from gflow.api.server.reply import answer, peer_of
from gflow.api.server.turn import Turn
from gflow.errors import Refused
from gflow.model.job import Job


class TakeoverRoutes:
    """Handlers; each turns a request into one call of the operations."""

    def __init__(self, operations: Operations, limits: Limits) -> None:
        self._operations = operations
        self._limits = limits

    def table(self) -> list[web.RouteDef]:
        """Paths and methods."""
        return [
            web.post("/v1/import/jobs", self.take_jobs),
            web.post("/v1/import/policy", self.take_policy),
        ]

    async def take_jobs(self, request: web.Request) -> web.StreamResponse:
        """A list of jobs, whole or not at all; ``dry_run=true`` only checks them."""
        dry_run = Query(request, "dry_run").flag("dry_run", False)
        arrivals = Arrivals(self._operations.own_identity)
        jobs: list[Job] = []
        turn = Turn()
        async for raw in read_items(request, self._limits):
            if len(jobs) >= self._limits.specs:
                raise Refused(
                    Refused.TOO_LARGE, f"cannot import more than {self._limits.specs} jobs at once"
                )
            jobs.append(arrivals.job(raw))
            await turn.breathe()
        peer = peer_of(request)
        return answer(await self._operations.take_jobs(peer, jobs, dry_run=dry_run))

    async def take_policy(self, request: web.Request) -> web.StreamResponse:
        """Limits, reservations, use, and the id counter."""
        Query(request)
        given = policy(await read_object(request, self._limits))
        return answer(await self._operations.take_policy(peer_of(request), given))

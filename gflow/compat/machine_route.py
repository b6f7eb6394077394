"""The reference's paths about the machine and its daemon."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from aiohttp import web

from gflow.api import dialect
from gflow.api.field import Invalid, integer, integers
from gflow.api.operations import Operations, Peer
from gflow.api.server import Limits
from gflow.api.server.stream import Streams
from gflow.compat import listing, message, statistics
from gflow.compat.message import answer, peer_of
from gflow.compat.problem import Problem
from gflow.compat.stream import follow_events
from gflow.errors import Refused

#: The executor as the reference's clients know it: jobs are processes, nothing is in tmux.
_EXECUTOR = "process"
_STRATEGIES = ("sequential", "random")


class MachineRoutes:
    """Handlers; each turns a request into calls of the operations."""

    def __init__(
        self, operations: Operations, limits: Limits, streams: Streams, strategy: str
    ) -> None:
        self._operations = operations
        self._limits = limits
        self._streams = streams
        self._strategy = strategy if strategy in _STRATEGIES else _STRATEGIES[0]

    def table(self) -> list[web.RouteDef]:
        """Paths and methods."""
        return [
            web.get("/", self.hello),
            web.get("/info", self.info),
            web.get("/status", self.status),
            web.get("/health", self.health),
            web.post("/gpus", self.restrict),
            web.get("/gpu-processes", self.ignored),
            web.post("/gpu-processes/ignore", self.ignore),
            web.post("/gpu-processes/unignore", self.unignore),
            web.get("/stats", self.stats),
            web.get("/metrics", self.metrics),
            web.get("/events", self.events),
            web.get("/debug/state", self.debug_state),
            web.get("/debug/metrics", self.debug_metrics),
            web.get("/ui", self.page),
            web.get("/ui/{path:.*}", self.page),
        ]

    async def hello(self, request: web.Request) -> web.StreamResponse:
        """What the reference says at its root."""
        return web.Response(text="Hello, World!")

    async def info(self, request: web.Request) -> web.StreamResponse:
        """Cards and how they are given out."""
        peer = peer_of(request)
        status = await self._operations.status(peer)
        return answer(
            {
                "gpus": await self._cards(peer, status),
                "allowed_gpu_indices": _allowed(status),
                "gpu_allocation_strategy": self._strategy,
                "executor": _EXECUTOR,
            }
        )

    async def status(self, request: web.Request) -> web.StreamResponse:
        """How the supervisor is, in a few numbers."""
        peer = peer_of(request)
        status = await self._operations.status(peer)
        cards = await self._cards(peer, status)
        return answer(
            {
                "version": status["version"],
                "pid": status["pid"],
                "uptime_secs": int(status["uptime_s"]),
                "executor": _EXECUTOR,
                "gpu_total": len(cards),
                "gpu_available": sum(card["available"] for card in cards),
            }
        )

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Whether it answers."""
        ping = await self._operations.ping(peer_of(request))
        return answer({"pid": ping["pid"], "status": "ok"})

    async def _cards(
        self, peer: Peer, status: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        status = status or await self._operations.status(peer)
        if not status["gpus"]:
            return []
        wanted = listing.Wanted(states=frozenset({"Running"}))
        running = await listing.records(self._operations, peer, wanted)
        taken = {index for one in running for index in one["gpu_ids"]}
        cards = []
        for card in status["gpus"]:
            index = card["index"]
            reason = None if card["restricted"] else card["unusable"]
            shape = {
                "uuid": card["uuid"] or f"GPU-{index}",
                "index": index,
                "available": index not in taken and not reason,
            }
            ignored = [f"manual_ignore(gpu={index},pid={pid})" for pid in card["ignored_pids"]]
            if reason or ignored:
                shape["reason"] = reason or ",".join(ignored)
            cards.append(shape)
        return cards

    # --- which cards ----------------------------------------------------------------------------

    async def restrict(self, request: web.Request) -> web.StreamResponse:
        """Which cards may be given out."""
        raw = await message.object_of(request, self._limits)
        indices = raw.get("allowed_indices")
        peer = peer_of(request)
        try:
            wanted = None if indices is None else integers(0, message.U32)(indices)
        except Invalid as error:
            raise Problem(422, f"Invalid body: allowed_indices {error}") from None
        known = {card["index"] for card in (await self._operations.status(peer))["gpus"]}
        strange = [index for index in wanted or () if index not in known]
        if strange:
            text = f"Invalid GPU indices {strange} (only {len(known)} GPUs detected)"
            raise Problem(400, text)
        await self._operations.restrict_cards(peer, wanted)
        return answer({"allowed_gpu_indices": _allowed(await self._operations.status(peer))})

    async def ignored(self, request: web.Request) -> web.StreamResponse:
        """Foreign processes on cards that do not count."""
        cards = (await self._operations.status(peer_of(request)))["gpus"]
        return answer(
            [
                {"gpu_index": card["index"], "pid": pid}
                for card in cards
                for pid in card["ignored_pids"]
            ]
        )

    async def ignore(self, request: web.Request) -> web.StreamResponse:
        """Let a foreign process keep its card back no more."""
        peer = peer_of(request)
        gpu, pid = await self._gpu_process(request)
        if gpu not in {card["index"] for card in await self._cards(peer)}:
            text = f"Invalid GPU index {gpu} (scheduler does not manage that GPU)"
            raise Problem(400, text)
        try:
            done = await self._operations.ignore_process(peer, gpu, pid)
        except Refused as error:
            if error.kind != Refused.NOT_FOUND:
                raise
            raise Problem(400, f"PID {pid} is not currently running on GPU {gpu}") from None
        shown = {"available": await self._available(peer, gpu), "gpu_index": gpu}
        return answer({**shown, "inserted": done["added"], "pid": pid})

    async def unignore(self, request: web.Request) -> web.StreamResponse:
        """Undo ``ignore``."""
        peer = peer_of(request)
        gpu, pid = await self._gpu_process(request)
        try:
            await self._operations.heed_process(peer, gpu, pid)
        except Refused as error:
            if error.kind != Refused.NOT_FOUND:
                raise
            text = f"Ignore override for PID {pid} on GPU {gpu} was not found"
            raise Problem(404, text) from None
        shown = {"available": await self._available(peer, gpu), "gpu_index": gpu}
        return answer({**shown, "pid": pid, "removed": True})

    async def _available(self, peer: Peer, gpu: int) -> bool:
        return any(one["available"] for one in await self._cards(peer) if one["index"] == gpu)

    async def _gpu_process(self, request: web.Request) -> tuple[int, int]:
        raw = await message.object_of(request, self._limits)
        check = integer(0, message.U32)
        return message.value_of(raw, "gpu_index", check), message.value_of(raw, "pid", check)

    # --- figures --------------------------------------------------------------------------------

    async def stats(self, request: web.Request) -> web.StreamResponse:
        """Figures over all jobs, or those of a user, or since a moment (any number)."""
        peer = peer_of(request)
        user = request.query.get("user") or None
        since = message.integer(request, "since")
        wanted = listing.Wanted(users=None if user is None else (user,), submitted_since=since)
        records = await listing.records(self._operations, peer, wanted)
        return answer(await statistics.summary(records, user, since, time.time()))

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """What the reference's released builds answer."""
        return web.Response(text="# Metrics feature not enabled\n")

    async def debug_state(self, request: web.Request) -> web.StreamResponse:
        """Jobs, cards and memory at once."""
        peer = peer_of(request)
        status = await self._operations.status(peer)
        records = await listing.records(self._operations, peer, listing.Wanted())
        resources = status["resources"]
        return answer(
            {
                "jobs": await listing.shapes(self._operations, peer, records),
                "next_job_id": max((one["id"] for one in records), default=0) + 1,
                "total_memory_mb": resources["total"]["memory_bytes"] >> 20,
                "available_memory_mb": resources["free"]["memory_bytes"] >> 20,
                "gpu_slots": await self._cards(peer, status),
                "allowed_gpu_indices": _allowed(status),
            }
        )

    async def debug_metrics(self, request: web.Request) -> web.StreamResponse:
        """Jobs by state and by user."""
        records = await listing.records(self._operations, peer_of(request), listing.Wanted())
        by_user: dict[str, Counter[str]] = {}
        for one in records:
            counts = by_user.setdefault(
                one["user"], Counter(submitted=0, running=0, finished=0, failed=0)
            )
            counts["submitted"] += 1
            state = dialect.state(one).lower()
            if state in counts:
                counts[state] += 1
        by_state = Counter(dialect.state(one) for one in records)
        return answer({"jobs_by_state": by_state, "jobs_by_user": by_user})

    # --- streams and pages ----------------------------------------------------------------------

    async def events(self, request: web.Request) -> web.StreamResponse:
        """What happens, as it happens."""
        return await follow_events(request, self._operations, self._streams, self._limits)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The reference's web page is not part of this program."""
        return web.Response(status=503, text="Web UI is not built\n")


def _allowed(status: dict[str, Any]) -> list[int] | None:
    """Cards that alone are given out; None: all of them."""
    kept = [card["index"] for card in status["gpus"] if not card["restricted"]]
    return None if len(kept) == len(status["gpus"]) else kept

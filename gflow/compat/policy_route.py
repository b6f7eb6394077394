"""The reference's paths about groups, quotas and reservations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gflow.api import dialect, field
from gflow.api.operations import Operations, Peer
from gflow.api.server import Limits
from gflow.compat import encoding, listing, message, submission
from gflow.compat.message import answer, peer_of
from gflow.compat.problem import Problem
from gflow.errors import Refused

Record = dict[str, Any]

_SCOPES = ("user", "project", "default_user", "default_project")
_STATUSES = ("Pending", "Active", "Completed", "Cancelled")
_COUNT = field.integer(0, 1 << 32)
_CARDS = field.integers(0, message.U32)
_DURATION = field.integer(0, (1 << 64) - 1)
#: A reservation that is longer is cut: a thousand years are for ever.
_MAX_DURATION_S = 1000 * 366 * 86400.0


class PolicyRoutes:
    """Handlers; each turns a request into calls of the operations."""

    def __init__(self, operations: Operations, limits: Limits) -> None:
        self._operations = operations
        self._limits = limits

    def table(self) -> list[web.RouteDef]:
        """Paths and methods."""
        return [
            web.post("/groups/{group}/max-concurrency", self.limit_group),
            web.get("/quotas", self.quotas),
            web.put("/quotas", self.set_quota),
            web.delete("/quotas", self.forget_quota),
            web.get("/reservations", self.reservations),
            web.post("/reservations", self.reserve),
            web.get("/reservations/{id}", self.reservation),
            web.delete("/reservations/{id}", self.unreserve),
        ]

    # --- groups ---------------------------------------------------------------------------------

    async def limit_group(self, request: web.Request) -> web.StreamResponse:
        """How many jobs of a group may run at once; counts at once."""
        peer = peer_of(request)
        group = request.match_info["group"]
        if not submission.is_uuid(group):
            raise Problem(400, f"Invalid UUID format: '{group[:60]}'")
        raw = await message.object_of(request, self._limits)
        limit = _number(raw, "max_concurrent")
        found = await listing.records(self._operations, peer, listing.Wanted())
        members = [one for one in found if one["group"] == group.lower()]
        if not members:
            raise Problem(404, f"No jobs found with group_id '{group}'")
        await self._operations.set_group(
            peer, members[-1]["user"], group.lower(), max(1, min(limit, 1 << 20))
        )
        return answer({"group_id": group, "max_concurrent": limit, "updated_jobs": len(members)})

    # --- quotas ---------------------------------------------------------------------------------

    async def quotas(self, request: web.Request) -> web.StreamResponse:
        """Every limit, and what is used of it."""
        peer = peer_of(request)
        rows = await self._quotas(peer)
        rows.sort(key=lambda row: (_SCOPES.index(row["scope"]), row["name"]))
        return answer({"overrides": await self._overrides(peer), "quotas": rows})

    async def _quotas(self, peer: Peer) -> list[Record]:
        """Subjects that have jobs or a limit that the reference knows, and both defaults."""
        rows = []
        known = {(row["scope"], row["name"]): row for row in await self._subjects(peer)}
        for row in known.values():
            limits = _theirs(row["limits"])
            used = row["used"] or {}
            if row["name"] and not limits and not any(map(used.get, dialect.LIMITS.values())):
                continue
            rows.append(
                {
                    "scope": row["scope"],
                    "name": row["name"],
                    "limits": limits,
                    "running_jobs": used.get("running_jobs", 0),
                    "running_gpus": used.get("running_gpus", 0),
                    "queued_jobs": used.get("pending_jobs", 0),
                }
            )
        return rows

    async def _overrides(self, peer: Peer) -> Record:
        """What was set, by scope and name, as the reference keeps it."""
        found: Record = {}
        for row in (await self._operations.quotas(peer))["quotas"]:
            limits, scope = _theirs(row["overrides"]), row["scope"]
            if limits and scope.startswith("default_"):
                found[scope] = limits
            elif limits:
                found.setdefault(f"{scope}s", {})[row["name"]] = limits
        return found

    async def _subjects(self, peer: Peer) -> list[Record]:
        defaults: list[Record] = [
            {"scope": scope, "name": "", "limits": {}, "used": None}
            for scope in ("default_user", "default_project")
        ]
        given: list[Record] = (await self._operations.quotas(peer))["quotas"]
        return [*defaults, *given]

    async def set_quota(self, request: web.Request) -> web.StreamResponse:
        """Change limits; those that are not named stay."""
        peer = peer_of(request)
        raw = await message.object_of(request, self._limits)
        scope, name = _subject(raw.get("scope"), raw.get("name"))
        given = raw.get("limits")
        if not isinstance(given, dict):
            raise Problem(422, "Invalid body: limits must be an object")
        limits: dict[str, float | None] = {
            ours: float(_number(given, theirs))
            for theirs, ours in dialect.LIMITS.items()
            if given.get(theirs) is not None
        }
        if not limits:
            raise Problem(400, "at least one limit field must be provided")
        await self._operations.set_quota(peer, scope, name, limits)
        return answer(
            {
                "name": name or None,
                "overrides": await self._overrides(peer),
                "scope": scope,
            }
        )

    async def forget_quota(self, request: web.Request) -> web.StreamResponse:
        """Forget the limits of one subject."""
        peer = peer_of(request)
        given = request.query.get("scope")
        if given not in _SCOPES:
            text = "missing field `scope`" if given is None else f"unknown variant `{given[:40]}`"
            raise Problem(400, f"Failed to deserialize query string: {text}")
        scope, name = _subject(given, request.query.get("name"))
        rows = (await self._operations.quotas(peer))["quotas"]
        limited = [(row["scope"], row["name"]) for row in rows if _theirs(row["overrides"])]
        if (scope, name) not in limited:
            raise Problem(404, "no matching quota override")
        await self._operations.set_quota(peer, scope, name, {}, delete=True)
        return answer(
            {
                "name": name or None,
                "overrides": await self._overrides(peer),
                "removed": True,
                "scope": scope,
            }
        )

    # --- reservations ---------------------------------------------------------------------------

    async def reservations(self, request: web.Request) -> web.StreamResponse:
        """All that last or are to come."""
        wanted = request.query.get("status")
        status = None
        if wanted:
            status = wanted.capitalize()
            if status not in _STATUSES:
                raise _plain(400, f"Invalid status: {wanted[:40]}")
        user = request.query.get("user")
        active = request.query.get("active_only", "false")
        if active not in ("true", "false"):
            text = "active_only: provided string was not `true` or `false`"
            raise Problem(400, f"Failed to deserialize query string: {text}")
        rows = [
            row
            for row in await self._reservations(peer_of(request))
            if (not user or row["user"] == user)
            and (status is None or row["status"] == status)
            and (active == "false" or row["status"] == "Active")
        ]
        return answer(rows)

    async def _reservations(self, peer: Peer) -> list[Record]:
        now = time.time()
        found = (await self._operations.reservations(peer))["reservations"]
        return [_reservation(one, now) for one in found]

    async def reserve(self, request: web.Request) -> web.StreamResponse:
        """Keep cards for a user."""
        peer = peer_of(request)
        raw = await message.object_of(request, self._limits)
        user = message.value_of(raw, "user", field.text(256, empty=False))
        start_at = message.value_of(raw, "start_time", encoding.parse_time_point)
        duration_s = float(_number(raw, "duration_secs", _DURATION))
        indices, count = raw.get("gpu_indices"), raw.get("gpu_count")
        gpu_ids = () if indices is None else message.value_of(raw, "gpu_indices", _CARDS)
        gpus = 0 if count is None else _number(raw, "gpu_count")
        if indices is None and count is None:
            raise _plain(400, "Must specify either gpu_count or gpu_indices")
        status = await self._operations.status(peer)
        _check_cards(gpus, gpu_ids, len(status["gpus"]))
        if start_at < time.time() - 60:
            raise _plain(400, "Start time cannot be in the past")
        try:
            made = await self._operations.reserve(
                peer,
                user=user,
                start_at=min(start_at, float(1 << 36)),
                duration_s=min(duration_s, _MAX_DURATION_S),
                gpus=gpus,
                gpu_ids=gpu_ids,
            )
        except Refused as error:
            raise _plain(403 if error.kind == Refused.FORBIDDEN else 400, str(error)) from None
        return answer(made)

    async def reservation(self, request: web.Request) -> web.StreamResponse:
        """One of them."""
        number = message.number_in_path(request)
        for row in await self._reservations(peer_of(request)):
            if row["id"] == number:
                return answer(row)
        raise _plain(404, f"Reservation {number} not found")

    async def unreserve(self, request: web.Request) -> web.StreamResponse:
        """Give one back."""
        number = message.number_in_path(request)
        try:
            await self._operations.unreserve(peer_of(request), number)
        except Refused as error:
            if error.kind == Refused.NOT_FOUND:
                raise _plain(400, f"Reservation {number} not found") from None
            raise
        return web.Response()


def _plain(status: int, text: str) -> Problem:
    return Problem(status, text, plain=True)


def _check_cards(gpus: int, gpu_ids: tuple[int, ...], known: int) -> None:
    if not gpus and not gpu_ids:
        raise _plain(400, "GPU count must be greater than 0")
    if gpus > known:
        raise _plain(400, f"Requested {gpus} GPUs but only {known} GPUs available")
    for index in gpu_ids:
        if index >= known:
            text = f"GPU index {index} is out of range (available: 0-{known - 1})"
            raise _plain(400, text)


def _reservation(one: Record, now: float) -> Record:
    active = one["start_at"] <= now
    indices = list(one["gpu_ids"])
    return {
        "id": one["id"],
        "user": one["user"] or one["project"],
        "gpu_spec": {"indices": indices} if indices else {"count": one["gpus"]},
        "start_time": encoding.time_point(one["start_at"]),
        "duration": encoding.duration(one["duration_s"]),
        "status": "Active" if active else "Pending",
        "created_at": encoding.time_point(one.get("created_at", one["start_at"])),
        "cancelled_at": None,
    }


def _subject(scope: Any, name: Any) -> tuple[str, str]:
    if scope not in _SCOPES:
        raise Problem(422, f"Invalid body: scope must be one of {', '.join(_SCOPES)}")
    text = name.strip() if isinstance(name, str) else ""
    if scope.startswith("default_"):
        return scope, ""
    if not text:
        raise Problem(400, f"'name' is required for scope '{scope.capitalize()}'")
    return scope, text


def _number(raw: Record, name: str, check: Callable[[Any], int] = _COUNT) -> int:
    return int(message.value_of(raw, name, check))


def _theirs(limits: Record) -> Record:
    """Limits that the reference knows, under its names."""
    return {
        theirs: int(limits[ours])
        for theirs, ours in dialect.LIMITS.items()
        if limits.get(ours) is not None
    }

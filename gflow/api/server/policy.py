"""Paths about who may have how much, and when: quotas, groups, reservations, drains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from gflow.api import field
from gflow.api.field import Invalid
from gflow.api.grammar import MAX_CARD, MAX_ID
from gflow.api.operations import Operations
from gflow.api.quantity import nearest
from gflow.api.server.body import read_object
from gflow.api.server.connection import Limits
from gflow.api.server.query import Query
from gflow.api.server.reply import answer, peer_of
from gflow.api.specification import unknown_key
from gflow.errors import Refused

Check = Callable[[Any], Any]

_NAME = field.text(256, empty=False)
_MOMENT = field.number(0, 1 << 36)
#: Limits of a quota (gflow.model.event.SetQuota); null clears one.
LIMITS: dict[str, Check] = {
    "running_jobs": field.integer(0, 1 << 32),
    "running_cpus": field.integer(0, 1 << 32),
    "running_gpus": field.integer(0, 1 << 32),
    "pending_jobs": field.integer(0, 1 << 32),
    "gpu_hours_per_week": field.number(0, 1e9),
}
SCOPES = ("user", "project", "default_user", "default_project")
_RESERVATION: dict[str, Check] = {
    "user": _NAME,
    "project": _NAME,
    "start_at": _MOMENT,
    "duration_s": field.number(1, field.MAX_SECONDS),
    "cpus": field.integer(0, 1 << 16),
    "gpus": field.integer(0, MAX_CARD + 1),
    "gpu_ids": field.integers(0, MAX_CARD),
    "every_s": field.number(60, field.MAX_SECONDS),
    "comment": field.text(1024),
}


class PolicyRoutes:
    """Handlers; each turns a request into one call of the operations."""

    def __init__(self, operations: Operations, limits: Limits) -> None:
        self._operations = operations
        self._limits = limits

    def table(self) -> list[web.RouteDef]:
        """Paths and methods."""
        return [
            web.get("/v1/quotas", self.quotas),
            web.patch("/v1/quotas", self.set_quota),
            web.delete("/v1/quotas", self.forget_quota),
            web.get("/v1/groups", self.groups),
            web.patch("/v1/groups", self.set_group),
            web.get("/v1/reservations", self.reservations),
            web.post("/v1/reservations", self.reserve),
            web.get("/v1/reservations/{id}", self.reservation),
            web.delete("/v1/reservations/{id}", self.unreserve),
            web.post("/v1/drain", self.drain),
            web.post("/v1/undrain", self.undrain),
            web.patch("/v1/gpus", self.restrict_cards),
            web.post("/v1/gpus/{id}/ignore", self.ignore_process),
            web.post("/v1/gpus/{id}/heed", self.heed_process),
        ]

    # --- cards ------------------------------------------------------------------------------

    async def restrict_cards(self, request: web.Request) -> web.StreamResponse:
        """``{"allowed": [index, …]}``; null: all that the settings allow."""
        what = "choose cards"
        raw = await self._body(request, what, ("allowed",))
        given = raw.get("allowed")
        try:
            indices = None if given is None else field.integers(0, MAX_CARD)(given)
        except Invalid as error:
            raise _refused(what, f"allowed {error}") from None
        return answer(await self._operations.restrict_cards(peer_of(request), indices))

    async def ignore_process(self, request: web.Request) -> web.StreamResponse:
        """``{"pid"}``: this process keeps the card back no more."""
        index, pid = await self._process(request, "ignore the process")
        return answer(await self._operations.ignore_process(peer_of(request), index, pid))

    async def heed_process(self, request: web.Request) -> web.StreamResponse:
        """``{"pid"}``: undo ``ignore``."""
        index, pid = await self._process(request, "heed the process")
        return answer(await self._operations.heed_process(peer_of(request), index, pid))

    async def _process(self, request: web.Request, what: str) -> tuple[int, int]:
        raw = await self._body(request, what, ("pid",))
        pid = _checked({"pid": field.integer(1, 1 << 31)}, "pid", raw.get("pid"), what)
        return _number(request, "gpu", MAX_CARD), pid

    # --- quotas -----------------------------------------------------------------------------

    async def quotas(self, request: web.Request) -> web.StreamResponse:
        """Every limit, and what is used of it."""
        Query(request)
        return answer(await self._operations.quotas(peer_of(request)))

    async def set_quota(self, request: web.Request) -> web.StreamResponse:
        """``{"scope", "name", "limits": {name: number or null}}``; others stay."""
        what = "set the quota"
        raw = await self._body(request, what, ("scope", "name", "limits"))
        scope, name = _subject(raw, what)
        given = raw.get("limits")
        if not isinstance(given, dict) or not given:
            raise _refused(what, f"limits must name at least one of {', '.join(LIMITS)}")
        limits = {
            key: None if value is None else _checked(LIMITS, key, value, what)
            for key, value in given.items()
        }
        peer = peer_of(request)
        return answer(await self._operations.set_quota(peer, scope, name, limits))

    async def forget_quota(self, request: web.Request) -> web.StreamResponse:
        """``?scope=&name=``: all limits of one subject that were set at run time."""
        asked = Query(request, "scope", "name")
        given = {"scope": asked.text("scope"), "name": asked.text("name")}
        scope, name = _subject(given, "clear the quota")
        peer = peer_of(request)
        return answer(await self._operations.set_quota(peer, scope, name, {}, delete=True))

    # --- groups -----------------------------------------------------------------------------

    async def groups(self, request: web.Request) -> web.StreamResponse:
        """Groups with a limit or jobs."""
        Query(request)
        return answer(await self._operations.groups(peer_of(request)))

    async def set_group(self, request: web.Request) -> web.StreamResponse:
        """``{"name", "max_running": number or null, "user": one's own if not given}``."""
        what = "limit the group"
        raw = await self._body(request, what, ("name", "max_running", "user"))
        peer = peer_of(request)
        checks: dict[str, Check] = {
            "name": _NAME,
            "user": _NAME,
            "max_running": field.integer(1, 1 << 20),
        }
        name = _checked(checks, "name", raw.get("name"), what)
        user = raw.get("user")
        if user is None:
            user = peer.user or (await self._operations.account(peer.uid))[0]
        limit = raw.get("max_running")
        if limit is not None:
            limit = _checked(checks, "max_running", limit, what)
        user = _checked(checks, "user", user, what)
        return answer(await self._operations.set_group(peer, user, name, limit))

    # --- reservations -----------------------------------------------------------------------

    async def reservations(self, request: web.Request) -> web.StreamResponse:
        """Those that last or are to come."""
        Query(request)
        return answer(await self._operations.reservations(peer_of(request)))

    async def reservation(self, request: web.Request) -> web.StreamResponse:
        """One of them."""
        Query(request)
        wanted = _number(request)
        found = await self._operations.reservations(peer_of(request))
        for one in found["reservations"]:
            if one["id"] == wanted:
                return answer(one)
        raise Refused(
            Refused.NOT_FOUND, f"cannot find reservation {wanted}: there is no such reservation"
        )

    async def reserve(self, request: web.Request) -> web.StreamResponse:
        """A new one; see Operations.reserve for its keys."""
        raw = await self._body(request, "reserve", _RESERVATION)
        values = {
            key: _checked(_RESERVATION, key, value, "reserve")
            for key, value in raw.items()
            if value is not None
        }
        for key in ("start_at", "duration_s"):
            if key not in values:
                raise _refused("reserve", f"it needs {key}")
        if ("user" in values) == ("project" in values):
            raise _refused("reserve", "name either a user or a project")
        if values.get("gpus") and values.get("gpu_ids"):
            raise _refused("reserve", "name a number of gpus or gpu_ids, not both")
        made = await self._operations.reserve(peer_of(request), **values)
        return answer(made, status=201)

    async def unreserve(self, request: web.Request) -> web.StreamResponse:
        """Give it back; ``once=true``: only its current or next occurrence."""
        once = Query(request, "once").flag("once", False)
        peer = peer_of(request)
        return answer(await self._operations.unreserve(peer, _number(request), once=once))

    # --- drains -----------------------------------------------------------------------------

    async def drain(self, request: web.Request) -> web.StreamResponse:
        """Start no more jobs, or only those that end before ``by_at``."""
        checks: dict[str, Check] = {"reason": field.text(1024), "by_at": _MOMENT}
        raw = await self._body(request, "drain", checks)
        values = {
            key: None if value is None else _checked(checks, key, value, "drain")
            for key, value in raw.items()
        }
        return answer(
            await self._operations.drain(
                peer_of(request), reason=values.get("reason"), by_at=values.get("by_at")
            )
        )

    async def undrain(self, request: web.Request) -> web.StreamResponse:
        """Start jobs again."""
        await self._body(request, "undrain", ())
        return answer(await self._operations.undrain(peer_of(request)))

    # --- parts ------------------------------------------------------------------------------

    async def _body(self, request: web.Request, what: str, known: Any) -> dict[str, Any]:
        Query(request)
        raw = await read_object(request, self._limits)
        for key in raw:
            if key not in known:
                raise _refused(what, unknown_key(key, dict.fromkeys(known)))
        return raw


def _subject(raw: dict[str, Any], what: str) -> tuple[str, str]:
    """(scope, name) of a quota; the defaults have no name."""
    scope, name = raw.get("scope"), raw.get("name") or ""
    if not isinstance(scope, str) or scope not in SCOPES:
        near = nearest(scope, [*SCOPES]) if isinstance(scope, str) else None
        hint = f"; did you mean {near}?" if near else ""
        raise _refused(what, f"scope must be one of {', '.join(SCOPES)}{hint}")
    if scope.startswith("default_"):
        if name:
            raise _refused(what, f"a {scope} has no name")
        return scope, ""
    return scope, _checked({"name": _NAME}, "name", name, what)


def _number(request: web.Request, thing: str = "reservation", most: int = MAX_ID) -> int:
    digits = request.match_info["id"]
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise Refused(Refused.INVALID, f"cannot find the {thing}: its id is a number up to {most}")
    return int(digits)


def _checked(checks: dict[str, Check], key: str, value: Any, what: str) -> Any:
    check = checks.get(key)
    if check is None:
        raise _refused(what, unknown_key(key, checks))
    try:
        return check(value)
    except Invalid as error:
        raise _refused(what, f"{key} {error}") from None


def _refused(what: str, why: str) -> Refused:
    return Refused(Refused.INVALID, f"cannot {what}: {why}")

"""Parameters of a request as values: filters, cursors, numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from gflow.api import field
from gflow.api.field import Invalid
from gflow.api.grammar import MAX_LISTED
from gflow.api.operations import HistoryFilter, JobFilter, JobReference
from gflow.api.server.turn import Turn
from gflow.api.specification import unknown_key
from gflow.errors import Refused
from gflow.model.state import State

Resolve = Callable[[JobReference], Awaitable[int]]

MAX_PAGE = 500
_MAX_WORDS = 10_000

_STATES = frozenset(state.value for state in State)
_FILTER_KEYS = frozenset({"id", "user", "state", "name", "project"})
#: Key in a body (a list) → key in a query (repeated, or with commas).
BODY_KEYS = {
    "jobs": "id",
    "users": "user",
    "states": "state",
    "names": "name",
    "projects": "project",
}


class Query:
    """The parameters of one request; unknown ones are refused."""

    def __init__(self, request: web.BaseRequest, *known: str, filters: bool = False) -> None:
        self._query = request.query
        allowed = dict.fromkeys((*known, *(_FILTER_KEYS if filters else ())))
        for key in self._query:
            if key not in allowed:
                raise _refused(unknown_key(key, allowed))

    def text(self, key: str) -> str | None:
        """The value, None when it is not there."""
        value: str | None = self._query.get(key)
        return value

    def words(self, key: str) -> tuple[str, ...] | None:
        """All values of a key that may be repeated; None when it is not there."""
        if key not in self._query:
            return None
        return tuple(self._query.getall(key))

    def flag(self, key: str, default: bool) -> bool:
        """``true`` or ``false``."""
        value = self._query.get(key)
        if value is None:
            return default
        if value in ("true", "1", ""):
            return True
        if value in ("false", "0"):
            return False
        raise _refused(f"{key} must be true or false")

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A number within bounds."""
        value = self._query.get(key)
        if value is None:
            return default
        try:
            number = float(value) if value.isascii() else low - 1
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise _refused(f"{key} must be a number from {low:.12g} to {high:.12g}")
        return number

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self._query.get(key)
        if value is None:
            return default
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            raise _refused(f"{key} must be a whole number")
        if not low <= int(value) <= high:
            raise _refused(f"{key} must be from {low} to {high}")
        return int(value)

    def conditions(self) -> dict[str, Any]:
        """What the filter parameters say, for ``job_filter`` or ``history_filter``."""
        return {key: self.words(key) for key in _FILTER_KEYS if key in self._query}

    @property
    def page(self) -> tuple[str | None, int]:
        """(cursor, limit)."""
        return self.text("cursor"), self.integer("limit", MAX_PAGE, 1, MAX_PAGE)


def conditions_of(body: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """The filter keys of a body, as ``Query.conditions``; other keys than ``more`` are refused."""
    known = dict.fromkeys((*BODY_KEYS, *more))
    conditions: dict[str, Any] = {}
    for key, value in body.items():
        if key not in known:
            raise _refused(unknown_key(key, known))
        if key in BODY_KEYS and value is not None:
            if not isinstance(value, list):
                raise _refused(f"{key} must be a list")
            conditions[BODY_KEYS[key]] = value
    return conditions


async def job_filter(conditions: Mapping[str, Any], resolve: Resolve, *, ended: bool) -> JobFilter:
    """The filter that conditions describe."""
    ids, rest = await _common(conditions, resolve)
    return JobFilter(ids=ids, ended=ended, **rest)


async def history_filter(
    conditions: Mapping[str, Any], resolve: Resolve, since: float | None, before: float | None
) -> HistoryFilter:
    """The filter that conditions describe, within [since, before)."""
    ids, rest = await _common(conditions, resolve)
    return HistoryFilter(ids=ids, finished_since=since, finished_before=before, **rest)


async def _common(
    conditions: Mapping[str, Any], resolve: Resolve
) -> tuple[tuple[int, ...] | None, dict[str, Any]]:
    ids = conditions.get("id")
    if ids is not None and len(ids) > MAX_LISTED:
        raise _refused(f"more than {MAX_LISTED} jobs are named")
    try:
        found = None if ids is None else await _resolved(ids, resolve)
    except Invalid as error:
        raise _refused(f"a job id {error}") from None
    states = _words(conditions, "state")
    for state in states or ():
        if state not in _STATES:
            raise _refused(unknown_key(state, dict.fromkeys(_STATES)).replace("key", "state", 1))
    rest = {
        "users": _words(conditions, "user"),
        "states": states,
        "names": _words(conditions, "name"),
        "projects": _words(conditions, "project"),
    }
    return None if found is None else tuple(found), rest


async def _resolved(ids: Iterable[object], resolve: Resolve) -> list[int]:
    turn = Turn()
    found = []
    for item in ids:
        found.append(await resolve(field.reference(item)))
        await turn.breathe()
    return found


def _words(conditions: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    values = conditions.get(key)
    if values is None:
        return None
    if len(values) > _MAX_WORDS:
        raise _refused(f"{key} has more than {_MAX_WORDS} values")
    try:
        return tuple(field.line(value) for value in values)
    except Invalid as error:
        raise _refused(f"{key} {error}") from None


def _refused(why: str) -> Refused:
    return Refused(Refused.INVALID, f"cannot take the request: {why}")

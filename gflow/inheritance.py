"""Settings of the older gflow's ``gflow.toml`` and what they are here.

Its tables may stand in the same file as ours. Each key is mapped to one of ours, which an own table
of the same file overrides, or is named as ignored, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

#: What may stand beside our tables. Of the older names, [projects], [quota] and [executor] are
#: tables of ours as well.
TABLES = frozenset({"daemon", "timezone", "notifications"})

_LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
_IGNORED = {
    "daemon.gpu_poll_interval_secs": "a card is looked at whenever a job has left it",
    "timezone": "times are in the zone of whoever asks (TZ, gctl reserve create --timezone)",
    "notifications": "nothing is sent by web hook or mail; see --on-end and /v1/events",
}


class Inherited(NamedTuple):
    """One value for a key of ours."""

    #: The older key, for people.
    origin: str
    table: str
    key: str
    value: Any


class Ignored(NamedTuple):
    """A key that means nothing here."""

    origin: str
    reason: str


Finding = Inherited | Ignored


def translate(tables: Mapping[str, Any]) -> list[Finding]:
    """What the older tables among these say; what is wrong with a value, its new key will tell."""
    found: list[Finding] = []
    daemon = tables.get("daemon")
    if isinstance(daemon, Mapping):
        found += _daemon(_nested(daemon))
    for name in ("timezone", "notifications"):
        if name in tables:
            found.append(Ignored(name, _IGNORED[name]))
    return found


def sentence(finding: Finding) -> str:
    """One finding for people."""
    if isinstance(finding, Ignored):
        return f"{finding.origin} is ignored: {finding.reason}"
    return f"{finding.origin} is {finding.table}.{finding.key} here"


def _nested(table: Mapping[str, Any]) -> dict[str, Any]:
    """Keys as variables write them (``fair_share__enabled``) become tables of tables."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        outer, inside, inner = name.partition("__")
        if inside:
            below = found.setdefault(outer, {})
            if isinstance(below, dict):
                below[inner] = value
        else:
            found[name] = value
    return found


def _daemon(table: dict[str, Any]) -> Iterator[Finding]:
    yield from _address(table)
    for name, value in table.items():
        origin = f"daemon.{name}"
        if name == "fair_share" and isinstance(value, Mapping):
            yield from _fair_share(value)
        elif name in _KEYS:
            table_of_ours, key, convert = _KEYS[name]
            yield Inherited(origin, table_of_ours, key, convert(value))
        elif name not in ("host", "port"):
            yield Ignored(origin, _IGNORED.get(origin, "there is nothing like it"))


def _address(table: dict[str, Any]) -> Iterator[Finding]:
    host, port = table.get("host", "localhost"), table.get("port", 59000)
    if host not in _LOOPBACK:
        reason = "only loopback is served, for peers of other machines cannot be identified"
        yield Ignored("daemon.host", reason)
        host = "localhost"
    named = " and ".join(f"daemon.{name}" for name in ("host", "port") if name in table)
    if named and (host, named) != ("localhost", "daemon.host"):
        shown = "[::1]" if host == "::1" else host
        yield Inherited(named, "http", "listen", f"{shown}:{port}")


def _fair_share(table: Mapping[str, Any]) -> Iterator[Finding]:
    for name, value in table.items():
        origin = f"daemon.fair_share.{name}"
        if name == "half_life_secs":
            longest = max(value, 60) if isinstance(value, int) else value
            yield Inherited(origin, "scheduler", "fair_share_half_life_s", longest)
        elif name != "enabled":
            yield Ignored(origin, "there is nothing like it")
        elif value in (False, "false"):
            yield Inherited(origin, "scheduler", "fair_share_weight", 0.0)


def _as_it_is(value: Any) -> Any:
    return value


def _cards(value: Any) -> Any:
    """Numbers as names: ``[0, 2]``, ``"0,2"`` and ``3`` alike."""
    if isinstance(value, list):
        return [str(one) for one in value]
    return str(value)


_KEYS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "gpus": ("gpus", "allowed", _cards),
    "gpu_allocation_strategy": ("gpus", "strategy", _as_it_is),
}

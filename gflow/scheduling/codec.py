"""Facts of jobs and arrays as plain JSON-able objects, and back.

Fields that have their default are left out; missing ones take it, and unknown ones are dropped, so
that neighbouring versions read each other's records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import compress
from operator import attrgetter, is_not
from typing import Any

from gflow.model.job import (
    Array,
    ArraySpec,
    Dependency,
    Job,
    Process,
    RetryRule,
    Spec,
    WarningSignal,
)
from gflow.model.record import Key
from gflow.model.resources import Resources
from gflow.model.state import TERMINAL, State

Object = dict[str, Any]
_NOTHING = object()


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return _NOTHING if field.default_factory is MISSING else field.default_factory()


def _defaults(of: type) -> dict[str, Any]:
    assert is_dataclass(of)
    return {field.name: _default(field) for field in fields(of)}


_DEFAULTS: dict[type, dict[str, Any]] = {
    of: _defaults(of)
    for of in (
        *(Job, Array, Spec, Resources, Dependency, RetryRule),
        *(ArraySpec, Process, WarningSignal),
    )
}
#: What is derived at load.
_DERIVED = frozenset({"pending"})


def _reader(
    defaults: dict[str, Any],
) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[tuple[str, Any], ...], tuple[Any, ...]]:
    named = tuple(pair for pair in defaults.items() if pair[0] not in _DERIVED)
    return attrgetter(*(name for name, _ in named)), named, tuple(default for _, default in named)


#: All facts of a value in one call, their names and defaults: asking for one after the other takes
#: half as long again, and every change is encoded.
_READERS = {of: _reader(defaults) for of, defaults in _DEFAULTS.items()}
#: What a required field takes when a record has none.
_FALLBACKS: dict[str, Any] = {
    "name": "",
    "user": "",
    "uid": -1,
    "gid": -1,
    "command": (),
    "cwd": "/",
    "submitted_at": 0.0,
    "size": 0,
    "pending": None,
}
#: Fields that a record must have or be given, by class.
_REQUIRED = {
    of: [name for name, default in known.items() if default is _NOTHING and name in _FALLBACKS]
    for of, known in _DEFAULTS.items()
}
#: What JSON holds as the fact itself; the rest is converted.
_SCALARS = frozenset({int, str, float, bool, type(None)})
_STATES = frozenset({"state", "ending"})
_PARTS = frozenset({"spec", "shim", "process", "met", "resources", "dependencies", "retries"})
#: Converted whatever they hold: a scalar in the place of an object is damage.
_CONVERTED = _STATES | _PARTS | {"array", "cancelled", "warning"}


# --- to records ---------------------------------------------------------------------------------


def encode(item: Job | Array) -> Object:
    """The facts of an item; ``final`` when it has ended."""
    record = _encode(item)
    if item.state in TERMINAL:
        record["final"] = True
    return record


def _encode(value: Any) -> Object:
    record: Object = {}
    read, named, defaults = _READERS[type(value)]
    facts = read(value)
    # Most are their defaults, the very objects: passed over without a turn of the loop.
    for (name, default), fact in compress(zip(named, facts), map(is_not, facts, defaults)):
        if fact == default:
            continue
        kind = type(fact)
        as_is = kind in _PLAIN or name in _AS_IS
        record[name] = fact if as_is else _ENCODERS.get(kind, _same)(fact)
    return record


def _encode_spec(spec: Spec) -> Object:
    known = _specs.get(id(spec))
    if known is not None and known[0] is spec:
        return known[1]
    if len(_specs) >= _MOST_SPECS:
        _specs.clear()
    record = _encode(spec)
    _specs[id(spec)] = spec, record
    return record


#: What specs are in records, by identity. A spec never changes, and it is half of what is encoded
#: at every step of its job.
_specs: dict[int, tuple[Spec, Object]] = {}
_MOST_SPECS = 256
_PLAIN = frozenset({int, str, float, bool, type(None), dict})
#: Large tables of strings, in tuples that JSON takes as they are.
_AS_IS = frozenset({"sweep"})


def _encode_parts(parts: Sequence[Any]) -> list[Any]:
    return [
        part if type(part) in _PLAIN else _ENCODERS.get(type(part), _same)(part) for part in parts
    ]


def _same(fact: Any) -> Any:
    return fact


#: How what JSON does not take as it is becomes a part of a record.
_ENCODERS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys(_READERS, _encode),
    Spec: _encode_spec,
    State: str,
    tuple: _encode_parts,
    list: _encode_parts,
    frozenset: sorted,
}


# --- from records -------------------------------------------------------------------------------


class Decoder:
    """Turns records back into jobs and arrays."""

    def job(self, record: Mapping[str, Any]) -> Job:
        """A job; raises ValueError, TypeError or KeyError when the record is damaged."""
        return Job(**self._fields(Job, record, self._job))

    def array(self, record: Mapping[str, Any]) -> Array:
        """An array with nothing pending yet; raises as :meth:`job`."""
        found = self._fields(Array, record, self._job)
        return Array(**{**found, "pending": []})

    def spec(self, record: Mapping[str, Any]) -> Spec:
        """A spec; raises as :meth:`job`."""
        return Spec(**self._fields(Spec, record, self._spec))

    def _fields(
        self, of: type, record: Mapping[str, Any], convert: Callable[[str, Any], Any]
    ) -> dict[str, Any]:
        known = _DEFAULTS[of]
        found: dict[str, Any] = {}
        for name, value in record.items():
            if type(value) in _SCALARS and name not in _CONVERTED:
                if name in known:
                    found[name] = value
            elif name in known:
                found[name] = convert(name, value)
        for name in _REQUIRED[of]:
            if name not in found:
                found[name] = _FALLBACKS[name]
        return found

    def _job(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name == "spec":
            return self.spec(value)
        if name in _STATES:
            return State(value)
        if name in ("shim", "process"):
            return Process(**self._fields(Process, value, _as_is))
        if name == "met":
            return frozenset(value)
        if name == "cancelled":
            return [(start, stop) for start, stop in value]
        return _tupled(value) if name in ("cpu_ids", "gpu_ids") else value

    def _spec(self, name: str, value: Any) -> Any:
        if name == "resources":
            return Resources(**self._fields(Resources, value, _as_tuple))
        if name == "dependencies":
            return tuple(Dependency(**self._fields(Dependency, one, _as_tuple)) for one in value)
        if name == "retries":
            return tuple(RetryRule(**self._fields(RetryRule, one, _as_tuple)) for one in value)
        if name == "array" and value is not None:
            return ArraySpec(**self._fields(ArraySpec, value, _as_tuple))
        if name == "warning" and value is not None:
            return WarningSignal(**self._fields(WarningSignal, value, _as_tuple))
        return _tupled(value)


def _as_is(name: str, value: Any) -> Any:
    return value


def _as_tuple(name: str, value: Any) -> Any:
    return _tupled(value)


def _tupled(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return tuple([part if type(part) in _SCALARS else _tupled(part) for part in value])


def decode(key: Key, record: Mapping[str, Any]) -> Job | Array:
    """The job or array of one record; raises ValueError, TypeError or KeyError when damaged."""
    decoder = Decoder()
    return decoder.array(record) if key[0] == "array" else decoder.job(record)

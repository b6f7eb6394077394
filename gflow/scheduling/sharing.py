"""Equal parts of what jobs ask for are one object: thousands say the same, and it is kept once."""

from __future__ import annotations

from operator import attrgetter
from typing import TypeVar

from gflow.model.job import Spec

#: Values of one type that are remembered; then it begins anew.
_KNOWN = 4096
#: Longer texts and commands of more words are seldom said twice.
_LENGTH = 128
_WORDS = 16
_FIELDS = (
    *("user", "uid", "gid", "cwd", "script", "env", "project", "group", "request"),
    *("resources", "rlimits", "time_limit_s", "output_path", "error_path"),
)

_READ = attrgetter(*_FIELDS)

_Value = TypeVar("_Value")


class Sharing:
    """Remembers values and gives the first of equal ones for all of them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        #: By type, for 1 equals True and 1.0.
        self._known: dict[type, dict[object, object]] = {}

    def one(self, value: _Value) -> _Value:
        """An object of the same type that equals ``value``, which must be hashable."""
        known = self._known.get(type(value))
        if known is None:
            known = self._known[type(value)] = {}
        if (first := known.get(value)) is not None:
            return first  # type: ignore[return-value]
        if isinstance(value, str) and len(value) > _LENGTH:
            return value
        if len(known) >= _KNOWN:
            known.clear()
        known[value] = value
        return value

    def spec(self, spec: Spec) -> None:
        """Share the parts of a spec in place: it stays equal to what it was, so nobody can tell."""
        for name, value in zip(_FIELDS, _READ(spec)):
            if value is not None and (shared := self.one(value)) is not value:
                object.__setattr__(spec, name, shared)
        if len(spec.command) <= _WORDS:
            command = self.one(tuple([self.one(word) for word in spec.command]))
            object.__setattr__(spec, "command", command)

"""What a task of a parameter sweep asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gflow.model import parameter
from gflow.model.job import Spec
from gflow.model.parameter import Sweep

_FILLED = frozenset({"name", "command", "args", "cwd", "output_path", "error_path", "params"})


def task_spec(spec: Spec, position: int) -> Spec:
    """The spec of one task of an array: its own values in place of ``{name}``, and no table.

    The array's own spec where nothing is swept.
    """
    if not spec.sweep:
        return spec
    fields = {name: getattr(spec, name) for name in _FILLED}
    return replace(spec, sweep=(), **filled(fields, spec.sweep, position))


def filled(fields: Mapping[str, Any], sweep: Sweep, position: int) -> dict[str, Any]:
    """Fields of an array's spec as one task has them: its values in place of ``{name}``."""
    pairs = parameter.values_at(sweep, position)
    values = dict(pairs)
    found = dict(fields)
    for name in _FILLED & fields.keys():
        given = fields[name]
        if name == "params":
            found[name] = (*given, *pairs)
        elif name == "command":
            found[name] = parameter.filled_command(given, values)
        elif isinstance(given, tuple):
            found[name] = tuple(parameter.filled(word, values) for word in given)
        elif given is not None:
            found[name] = parameter.filled(given, values)
    return found

"""What a task of a parameter sweep asks for."""

from __future__ import annotations

from dataclasses import replace

from gflow.model import parameter
from gflow.model.job import Spec


def task_spec(spec: Spec, position: int) -> Spec:
    """The spec of one task of an array: its own values in place of ``{name}``, and no table.

    The array's own spec where nothing is swept.
    """
    if not spec.sweep:
        return spec
    pairs = parameter.values_at(spec.sweep, position)
    values = dict(pairs)

    def fill(text: str | None) -> str | None:
        return None if text is None else parameter.filled(text, values)

    return replace(
        spec,
        sweep=(),
        params=(*spec.params, *pairs),
        name=parameter.filled(spec.name, values),
        command=parameter.filled_command(spec.command, values),
        args=tuple(parameter.filled(word, values) for word in spec.args),
        cwd=parameter.filled(spec.cwd, values),
        output_path=fill(spec.output_path),
        error_path=fill(spec.error_path),
    )

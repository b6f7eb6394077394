"""Parameter sweeps: every combination of values, the first parameter slowest."""

from __future__ import annotations

import itertools

from gflow.api import dialect
from gflow.api.quantity import GrammarError

Values = dict[str, str]


def combinations(named: list[tuple[str, list[str]]], path: str | None) -> list[Values]:
    """All combinations of named values, for each row of a CSV file if there is one.

    A value of the command line wins over one of the file. Raises GrammarError and OSError.
    """
    names = [name for name, _ in named]
    inner = [dict(zip(names, values)) for values in itertools.product(*(v for _, v in named))]
    if path is None:
        return inner
    return [{**row, **values} for row in _rows(path) for values in inner]


def _rows(path: str) -> list[Values]:
    import csv

    with open(path, encoding="utf-8", newline="") as file:
        lines = [line for line in csv.reader(file) if line]
    if len(lines) < 2:
        raise GrammarError("CSV file contains no data rows")
    names = [name.strip() for name in lines[0]]
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise GrammarError(
                f"{path}, line {number}: {len(line)} values for {len(names)} parameters"
            )
    return [dict(zip(names, (value.strip() for value in line))) for line in lines[1:]]


def name(template: str, values: Values) -> str:
    """A run name with the values in place, as it is kept."""
    kept = {key: dialect.normalised(value) for key, value in values.items()}
    return dialect.normalised(dialect.filled(template, kept))

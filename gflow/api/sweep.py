"""How parameter sweeps are written: ``lr=0.1,0.01``, ranges, tables with a header.

Used by commands and server alike, so only cheap parts of the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gflow.api.quantity import GrammarError, quoted
from gflow.model import parameter

#: Parameter → its values; several in one factor are columns of a table, row by row.
Factor = dict[str, list[str]]

#: Values in all factors of a sweep that is one array; they stand in the array's record.
MAX_VALUES = 50_000
MAX_CHARACTERS = 1 << 20
#: Values of one range.
_MAX_RANGE = 1_000_000
_TABLE_BYTES = 32 << 20

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
#: What can only be meant as a range.
_BEGUN_RANGE = re.compile(rf"{_NUMBER}\.\.", re.ASCII)
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?:\.\.({_NUMBER}))?", re.ASCII)


def parse_param(text: str) -> Factor:
    """One parameter and its values.

    ``lr=0.1,0.01``, ``seed=1..5``, ``n=1..10..2``, ``p=0.1..0.5..0.1``; values with commas stand in
    double quotes.
    """
    name, equals, written = text.partition("=")
    name = name.strip()
    if not equals:
        raise GrammarError(f"the parameter {quoted(text)} has no values: lr=0.1,0.01 or seed=1..5")
    check_name(name)
    values: list[str] = []
    for item in _items(written, text):
        match = _RANGE.fullmatch(item)
        if match is None and _BEGUN_RANGE.match(item):
            raise GrammarError(
                f"the range {quoted(item)} of {name} is not understood: 1..5 or 1..10..2"
            )
        values += [item] if match is None else _range(match, text)
        if len(values) > _MAX_RANGE:
            raise GrammarError(f"the parameter {quoted(text)} has more than {_MAX_RANGE} values")
    return {name: values}


def check_name(name: str) -> None:
    """Raise GrammarError unless a parameter may be called so."""
    if parameter.NAME.fullmatch(name):
        return
    near = re.sub(r"[^A-Za-z0-9_.-]+", "_", name.strip(), flags=re.ASCII).strip("_")
    near = near if parameter.NAME.fullmatch(near) else "lr"
    raise GrammarError(
        f"no parameter can be called {quoted(name)}: letters, digits, _, . and -, such as {near}"
    )


def _items(written: str, text: str) -> list[str]:
    if '"' not in written:
        items = [item.strip() for item in written.split(",")]
    else:
        import csv

        rows = list(csv.reader([written], skipinitialspace=True))
        items = rows[0] if rows else [""]
    if not written.strip() or ("" in items and '"' not in written):
        raise GrammarError(f"the parameter {quoted(text)} has an empty value: lr=0.1,0.01")
    return items


def _range(match: re.Match[str], text: str) -> list[str]:
    from decimal import Decimal

    first, last = Decimal(match[1]), Decimal(match[2])
    step = Decimal(match[3] or "1")
    if step == 0:
        raise GrammarError(f"the range in {quoted(text)} has a step of 0")
    if (last - first) * step < 0:
        turned = f"{match[2]}..{match[1]}" if match[3] is None else f"1..5 or 5..1..-{abs(step)}"
        raise GrammarError(f"the range in {quoted(text)} ends before it begins: {turned}")
    count = int((last - first) / step) + 1
    if count > _MAX_RANGE:
        raise GrammarError(f"the range in {quoted(text)} has more than {_MAX_RANGE} values")
    digits = max(_places(match[1]), _places(match[3] or ""))
    width = _padding(match[1], match[2])
    return [f"{first + step * index:.{digits}f}".zfill(width) for index in range(count)]


def _places(number: str) -> int:
    """Digits after the point."""
    return len(number.partition(".")[2])


def _padding(*words: str) -> int:
    """Width of numbers that are written with leading zeros, as in 01..10."""
    padded = any(len(word) > 1 and word[0] == "0" and word[1] != "." for word in words)
    return max(map(len, words)) if padded else 0


def parse_table(text: str, path: str) -> Factor:
    """Columns of a CSV file (tabs in ``.tsv``), whose first line names the parameters."""
    import csv

    if len(text) > _TABLE_BYTES:
        raise GrammarError(f"{quoted(path)} is larger than {_TABLE_BYTES >> 20} MB")
    reader = csv.reader(
        text.removeprefix("\ufeff").splitlines(), delimiter="\t" if path.endswith(".tsv") else ","
    )
    columns: Factor | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                columns = _header(row, path)
                continue
            if len(row) != len(columns):
                raise GrammarError(
                    f"line {reader.line_num} of {quoted(path)} has {len(row)} values "
                    f"for {len(columns)} parameters"
                )
            for name, cell in zip(columns, row):
                columns[name].append(cell.strip())
    except csv.Error as error:
        raise GrammarError(f"line {reader.line_num} of {quoted(path)}: {error}") from None
    if columns is None or not next(iter(columns.values())):
        if columns is None:
            raise GrammarError(f"{quoted(path)} is empty: a line of names (lr,seed), then values")
        raise GrammarError(f"{quoted(path)} has no line of values below its names")
    return columns


def _header(row: Sequence[str], path: str) -> Factor:
    names = [cell.strip() for cell in row]
    for name in names:
        try:
            check_name(name)
        except GrammarError as error:
            raise GrammarError(f"the header of {quoted(path)}: {error}") from None
        if names.count(name) > 1:
            raise GrammarError(f"{quoted(path)} has two columns called {name}")
    return {name: [] for name in names}


def check_together(factors: Sequence[Factor]) -> None:
    """Raise GrammarError when two parameters are one for a job: the same name or variable."""
    seen: dict[str, str] = {}
    for factor in factors:
        for name in factor:
            other = seen.setdefault(parameter.variable(name), name)
            if other == name and sum(name in one for one in factors) > 1:
                raise GrammarError(
                    f"the parameter {name} is given twice: {name}=1,2 gives it two values"
                )
            if other != name:
                variable = parameter.variable(name)
                raise GrammarError(f"the parameters {other} and {name} would both be {variable}")


def to_sweep(factors: Sequence[Factor]) -> parameter.Sweep:
    """The same as the model keeps it; columns of a factor must have the same length."""
    return tuple((tuple(factor), tuple(zip(*factor.values()))) for factor in factors)

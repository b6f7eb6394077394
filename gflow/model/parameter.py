"""Parameter sweeps: which values each task of an array has, and where they are put.

A sweep is a product of factors, each a table ``(names, rows)``: ``--param lr=0.1,0.01`` is a table
of one column, a CSV file one of several whose rows stay together. The last factor varies fastest.
``{name}`` stands for a value; ``${name}`` is the shell's and stays.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from math import prod

#: (names, rows) of each factor.
Sweep = tuple[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], ...]
Values = tuple[tuple[str, str], ...]

#: What a parameter may be called.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)

_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_.-]*)\}", re.ASCII)
_NOT_VARIABLE = re.compile(r"[^A-Z0-9_]", re.ASCII)


def size(sweep: Sweep) -> int:
    """How many combinations there are."""
    return prod(len(rows) for _, rows in sweep)


def names(sweep: Sweep) -> Iterator[str]:
    """Every parameter, in order."""
    for columns, _ in sweep:
        yield from columns


def values_at(sweep: Sweep, position: int) -> Values:
    """The combination of a position, counted from 0."""
    found: list[Values] = []
    for columns, rows in reversed(sweep):
        position, row = divmod(position, len(rows))
        found.append(tuple(zip(columns, rows[row])))
    assert position == 0, "a position beyond the last combination"
    return tuple(pair for values in reversed(found) for pair in values)


def variable(name: str) -> str:
    """The variable that tells a job the value: ``GFLOW_PARAM_LR``."""
    return "GFLOW_PARAM_" + _NOT_VARIABLE.sub("_", name.upper())


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with values in place of ``{name}``; other braces stay."""
    if "{" not in text:
        return text
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def filled_command(command: tuple[str, ...], values: Mapping[str, str]) -> tuple[str, ...]:
    """The same in every word; in a line for the shell a value is text, never syntax."""
    if command[:2] == ("bash", "-c") and len(command) > 2:
        line, *words = command[2:]
        rest = (filled_line(line, values), *(filled(word, values) for word in words))
        return (*command[:2], *rest)
    return tuple(filled(word, values) for word in command)


#: Kind of quote around a placeholder → how a value is written there (bash(1), QUOTING).
_ESCAPES: dict[str, Callable[[str], str]] = {
    "": shlex.quote,
    "'": lambda value: value.replace("'", "'\\''"),
    '"': lambda value: re.sub(r'([\\"$`])', r"\\\1", value),
}


def filled_line(
    line: str, values: Mapping[str, str], placeholder: re.Pattern[str] = _PLACEHOLDER
) -> str:
    """A line for the shell with values filled in: whatever quotes one stands in, it is text.

    ``placeholder`` finds what is replaced; its first group is the name.
    """
    pieces: list[str] = []
    at, quote = 0, ""
    for match in placeholder.finditer(line):
        if match[1] not in values:
            continue
        between = line[at : match.start()]
        quote = _quote_after(between, quote)
        pieces += (between, _ESCAPES[quote](values[match[1]]))
        at = match.end()
    return "".join([*pieces, line[at:]])


def _quote_after(text: str, quote: str) -> str:
    """The quote that is open after a piece of a line, from the one open before it."""
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
    return quote

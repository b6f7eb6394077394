"""What the reference would run, as one of our command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

#: Runs the script ``$1`` by what its first line names, else by bash. The file is read when the job
#: starts, as with the reference; the supervisor touches no user's file.
_RUN_SCRIPT = """\
IFS= read -r line <"$1" || [ -n "$line" ] || exec bash "$1"
set -f
case $line in "#!"*) set -- ${line#??} "$1"; exec "$@";; esac
exec bash "$1\""""


def command_line(
    *,
    script: str | None,
    command: str | None,
    conda_env: str | None,
    task: int | None,
    parameters: Mapping[str, str],
) -> list[str]:
    """Arguments that run a script or a shell line in its conda environment."""
    lines = [f"export GFLOW_ARRAY_TASK_ID={task or 0}"]
    if conda_env:
        lines.append(
            f'eval "$(conda shell.bash hook)" && conda activate {shlex.quote(conda_env)} || exit 1'
        )
    if script is not None:
        return ["bash", "-c", "\n".join([*lines, _RUN_SCRIPT]), "gflow", script]
    assert command is not None
    return ["bash", "-c", "\n".join([*lines, substituted(command, parameters)])]


def substituted(command: str, parameters: Mapping[str, str]) -> str:
    """The shell line with each ``{name}`` of a known parameter replaced by its value.

    Whatever quotes the placeholder stands in, the value is text and never shell syntax.
    """
    if not parameters:
        return command
    pieces, at, quote = [], 0, ""
    for match in _PLACEHOLDER.finditer(command):
        value = parameters.get(match[1])
        if value is None:
            continue
        between = command[at : match.start()]
        quote = _quote_after(between, quote)
        pieces += [between, _ESCAPE[quote](value)]
        at = match.end()
    return "".join([*pieces, command[at:]])


#: Kind of quote around a placeholder → how a value is written there (bash(1), QUOTING).
_ESCAPE: dict[str, Callable[[str], str]] = {
    "": shlex.quote,
    "'": lambda value: value.replace("'", "'\\''"),
    '"': lambda value: re.sub(r'([\\"$`])', r"\\\1", value),
}


def _quote_after(text: str, quote: str) -> str:
    """The quote that is open after a piece of a shell line, from the one open before it."""
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

"""What the reference would run, as one of our command lines."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from gflow.api.dialect import substituted

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

"""Jobs that begin in a conda environment; an activation that fails is a job that fails."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

from gflow.api.quantity import GrammarError

_LINE = 'eval "$(conda shell.bash hook)" && conda activate "$0" && exec "$@"'
_BEFORE = ["bash", "-c", _LINE]
_HOOK = 'eval "$(conda shell.bash hook)" && conda activate '
_MARK = " || exit 1  # gflow: --conda-env\n"
_SHELLS = ("bash", "sh", "dash")


def enter(spec: dict[str, Any], environment: str, path: str | None = None) -> None:
    """Change a spec so; an environment that it had before is left out.

    A shell's script activates it in its first line. Of another language's it must be known at which
    path it is: it is run from there, as it is then. Raises GrammarError.
    """
    spec.setdefault("labels", {})["conda_env"] = environment
    if "script" not in spec:
        command = spec["command"]
        if command[:3] == _BEFORE:
            command = command[4:]
        spec["command"] = [*_BEFORE, environment, *command]
        return
    head, text = _split(spec["script"])
    interpreter = head[2:].split() if head else ["bash"]
    if os.path.basename(interpreter[-1]) in _SHELLS:
        spec["script"] = f"{head}{_HOOK}{shlex.quote(environment)}{_MARK}{text}"
    elif path is None:
        raise GrammarError(
            "--conda-env needs a shell's script, a script that is a file, or a command"
        )
    else:
        spec["command"] = [*_BEFORE, environment, *interpreter, path, *spec.pop("args", ())]
        del spec["script"]


def leave(spec: dict[str, Any]) -> None:
    """Take what ``enter`` put before a shell's script out again."""
    spec.get("labels", {}).pop("conda_env", None)
    if "script" in spec:
        spec["script"] = "".join(_split(spec["script"]))


def moved(record: Mapping[str, Any], script: str, environment: str | None) -> dict[str, Any]:
    """Changes that let a job's captured script run in another environment, or in none.

    Its arguments stay. Raises GrammarError.
    """
    labels = dict(record["labels"])
    spec: dict[str, Any] = {"script": script, "args": record["args"], "labels": labels}
    leave(spec)
    if environment:
        enter(spec, environment, labels.get("script"))
    return spec


def _split(script: str) -> tuple[str, str]:
    """The first line if it names an interpreter, and the rest without an earlier activation."""
    head, text = "", script
    if script.startswith("#!"):
        head, newline, text = script.partition("\n")
        head += newline or "\n"
    first, newline, rest = text.partition("\n")
    if first.startswith(_HOOK) and (first + newline).endswith(_MARK):
        text = rest
    return head, text

"""Options that stand in a script: ``# GFLOW`` lines, and ``#SBATCH`` lines as far as they mean
something here."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import NamedTuple

from gflow.api import grammar, moment, quantity
from gflow.api.quantity import GrammarError
from gflow.cli import request
from gflow.cli.command import Failure

_GFLOW = "# GFLOW"
_SBATCH = "#SBATCH"


class Line(NamedTuple):
    """Words of one directive line."""

    number: int
    words: list[str]


class Translation(NamedTuple):
    """What ``#SBATCH`` lines ask for, as keys of a spec, and what became of each option."""

    spec: dict[str, object]
    #: (option as written, "translated", "approximated" or "ignored", what it means here)
    notes: list[tuple[str, str, str]]


def gflow_lines(text: str, path: str) -> list[Line]:
    """``# GFLOW`` lines, wherever they stand. Raises Failure with file and line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_GFLOW) and not line[len(_GFLOW) :].lstrip()[:1].isalnum():
            found.append(Line(number, _split(line[len(_GFLOW) :], path, number)))
    return found


def sbatch_lines(text: str, path: str) -> list[Line]:
    """``#SBATCH`` lines before the first command, as sbatch(1) reads them."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_SBATCH) and line[len(_SBATCH) :][:1] in ("", " ", "\t"):
            found.append(Line(number, _split(line[len(_SBATCH) :], path, number)))
        elif line.strip() and not line.startswith("#"):
            break
    return found


def _split(text: str, path: str, number: int) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError as error:
        raise Failure(f"{path}, line {number}: {error}") from None


# --- Slurm's options ------------------------------------------------------------------------------


def _name(spec: dict[str, object], value: str) -> str:
    spec["name"] = value
    return f"name {value}"


def _time(spec: dict[str, object], value: str) -> str:
    spec["time_limit_s"] = quantity.parse_duration(value)
    return f"time limit {quantity.format_duration(spec['time_limit_s'])}"  # type: ignore[arg-type]


def _resources(spec: dict[str, object]) -> dict[str, object]:
    found = spec.setdefault("resources", {})
    assert isinstance(found, dict)
    return found


def _whole(value: str) -> int:
    if not (value.isascii() and value.removeprefix("-").isdigit() and len(value) < 12):
        raise GrammarError("it needs a whole number")
    return int(value)


def _megabytes(value: str) -> int:
    return int(value) << 20 if value.isascii() and value.isdigit() else quantity.parse_size(value)


def _memory(spec: dict[str, object], value: str) -> str:
    _resources(spec)["memory_bytes"] = size = _megabytes(value)
    return f"memory {quantity.format_size(size)}"


def _memory_per_cpu(spec: dict[str, object], value: str) -> str:
    spec["_memory_per_cpu"] = _megabytes(value)
    return "memory, so much for each cpu"


def _cpus(spec: dict[str, object], value: str) -> str:
    spec["_cpus_per_task"] = _whole(value)
    return f"{value} cpus"


def _per_gpu(key: str, parse: Callable[[str], int]) -> Callable[[dict[str, object], str], str]:
    def take(spec: dict[str, object], value: str) -> str:
        spec[f"_{key}_per_gpu"] = parse(value)
        return f"{key}, {value} for each of its gpus"

    return take


def _export(spec: dict[str, object], value: str) -> str:
    request.parse_export(value)
    spec["_export"] = value
    return f"environment {value}"


def _tasks(spec: dict[str, object], value: str) -> str:
    spec["_tasks"] = _whole(value)
    several = "s" * (value != "1")
    return f"cpus for {value} task{several}; the script is run once and starts them itself"


def _nodes(spec: dict[str, object], value: str) -> str:
    if value not in ("1", "1-1"):
        raise GrammarError("there is one machine")
    return "there is one machine"


def _gpus(spec: dict[str, object], value: str) -> str:
    count = value.rpartition(":")[2]
    _resources(spec)["gpus"] = _whole(count)
    return f"{count} gpus" + (", of any kind" if ":" in value else "")


def _gpus_per_task(spec: dict[str, object], value: str) -> str:
    spec["_gpus_per_task"] = _whole(value.rpartition(":")[2])
    return "gpus, so many for each task"


def _impossible(spec: dict[str, object], value: str) -> str:
    if value not in ("yes", "no"):
        raise GrammarError("it needs yes or no")
    spec["kill_on_invalid_dependency"] = value == "yes"
    return "cancelled when its dependency cannot come true" if value == "yes" else "waits for ever"


def _gres(spec: dict[str, object], value: str) -> str:
    counts: dict[str, int] = {}
    for item in value.split(","):
        words = item.split(":")
        number = int(words[-1]) if words[-1].isdigit() else 1
        if words[0] == "gpu":
            _resources(spec)["gpus"] = number
        else:
            counts[words[0]] = number
    if counts:
        _resources(spec)["gres"] = counts
    return f"resources {value}"


def _array(spec: dict[str, object], value: str) -> str:
    grammar.parse_array(value)
    spec["array"] = value
    return f"array {value}"


def _dependency(spec: dict[str, object], value: str) -> str:
    grammar.parse_dependencies(value)
    spec["dependencies"] = value
    return f"dependency {value}"


def _begin(spec: dict[str, object], value: str) -> str:
    import time

    spec["begin_at"] = moment.parse_begin(value, time.time())
    return f"not before {value}"


def _text(key: str) -> Callable[[dict[str, object], str], str]:
    def take(spec: dict[str, object], value: str) -> str:
        spec[key] = value
        return f"{key.removesuffix('_path')} {value}"

    return take


def _number(key: str) -> Callable[[dict[str, object], str], str]:
    def take(spec: dict[str, object], value: str) -> str:
        spec[key] = _whole(value)
        return f"{key} {value}"

    return take


def _flag(key: str, value: bool = True) -> Callable[[dict[str, object], str], str]:
    def take(spec: dict[str, object], given: str) -> str:
        spec[key] = value
        return key if value else f"no {key}"

    return take


def _exclusive(spec: dict[str, object], value: str) -> str:
    _resources(spec)["exclusive"] = True
    return "nothing else beside it"


def _signal(spec: dict[str, object], value: str) -> str:
    spec["warning"] = quantity.parse_warning(value.removeprefix("R:"))
    return f"signal {value}"


_Take = Callable[[dict[str, object], str], str]

#: Long option of sbatch(1) → (short one, takes a value, "translated" or "approximated", how).
_OPTIONS: dict[str, tuple[str, bool, str, _Take]] = {
    "job-name": ("J", True, "translated", _name),
    "time": ("t", True, "translated", _time),
    "mem": ("", True, "translated", _memory),
    "mem-per-cpu": ("", True, "approximated", _memory_per_cpu),
    "cpus-per-task": ("c", True, "translated", _cpus),
    "cpus-per-gpu": ("", True, "translated", _per_gpu("cpus", _whole)),
    "mem-per-gpu": ("", True, "translated", _per_gpu("memory", _megabytes)),
    "export": ("", True, "translated", _export),
    "ntasks": ("n", True, "approximated", _tasks),
    "nodes": ("N", True, "approximated", _nodes),
    "gpus": ("G", True, "translated", _gpus),
    "gpus-per-node": ("", True, "approximated", _gpus),
    "gpus-per-task": ("", True, "approximated", _gpus_per_task),
    "gres": ("", True, "translated", _gres),
    "kill-on-invalid-dep": ("", True, "translated", _impossible),
    "array": ("a", True, "translated", _array),
    "dependency": ("d", True, "translated", _dependency),
    "begin": ("b", True, "translated", _begin),
    "output": ("o", True, "translated", _text("output_path")),
    "error": ("e", True, "translated", _text("error_path")),
    "open-mode": ("", True, "translated", _text("open_mode")),
    "chdir": ("D", True, "translated", _text("cwd")),
    "comment": ("", True, "translated", _text("comment")),
    "account": ("A", True, "approximated", _text("project")),
    "wckey": ("", True, "approximated", _text("project")),
    "priority": ("", True, "translated", _number("priority")),
    "nice": ("", True, "approximated", _number("nice")),
    "requeue": ("", False, "translated", _flag("requeue")),
    "no-requeue": ("", False, "translated", _flag("requeue", False)),
    "hold": ("H", False, "translated", _flag("hold")),
    "exclusive": ("", False, "translated", _exclusive),
    "signal": ("", True, "translated", _signal),
}
_LONG_OF = {short: name for name, (short, *_) in _OPTIONS.items() if short}
#: Options that take a value and mean nothing here; any other that is unknown is ignored alone.
_VALUED = frozenset(
    {
        "constraint",
        "cores-per-socket",
        "distribution",
        "exclude",
        "get-user-env",
        "gpu-bind",
        "hint",
        "licenses",
        "mail-type",
        "mail-user",
        "nodelist",
        "ntasks-per-core",
        "ntasks-per-node",
        "ntasks-per-socket",
        "partition",
        "profile",
        "qos",
        "reservation",
        "time-min",
        "tmp",
    }
)
_SHORT_VALUED = frozenset("pqCwxLM")


def translate(lines: list[Line], path: str) -> Translation:
    """What the lines ask for. Raises Failure, with file and line, for values that are wrong."""
    spec: dict[str, object] = {}
    notes: list[tuple[str, str, str]] = []
    for number, words in lines:
        rest = list(words)
        while rest:
            option, name, value = _next_option(rest)
            known = _OPTIONS.get(name)
            if known is None:
                notes.append((option, "ignored", "it means nothing here"))
                continue
            try:
                notes.append((option, known[2], known[3](spec, value)))
            except (GrammarError, ValueError, Failure) as error:
                raise Failure(f"{path}, line {number}: {option}: {error}") from None
    _settle(spec)
    return Translation(spec, notes)


def _next_option(rest: list[str]) -> tuple[str, str, str]:
    """Take one option from the words: (as written, its long name, its value)."""
    word = rest.pop(0)
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        takes = name in _VALUED or (name in _OPTIONS and _OPTIONS[name][1])
        if not equals and takes and rest:
            value = rest.pop(0)
            word = f"{word} {value}"
        return word, name, value
    short = word[1:2]
    name = _LONG_OF.get(short, short)
    takes = short in _SHORT_VALUED or (name in _OPTIONS and _OPTIONS[name][1])
    value = word[2:].removeprefix("=")
    if takes and not value and rest:
        value = rest.pop(0)
        word = f"{word} {value}"
    return word, name, value


def _settle(spec: dict[str, object]) -> None:
    """Products of options: cpus of all tasks, memory of all cpus."""
    per_task, tasks = spec.pop("_cpus_per_task", 1), spec.pop("_tasks", 1)
    assert isinstance(per_task, int) and isinstance(tasks, int)
    cpus = per_task * tasks
    if cpus != 1:
        _resources(spec)["cpus"] = cpus
    per_cpu = spec.pop("_memory_per_cpu", None)
    if isinstance(per_cpu, int):
        _resources(spec)["memory_bytes"] = per_cpu * cpus
    per_task_gpus = spec.pop("_gpus_per_task", None)
    if isinstance(per_task_gpus, int):
        _resources(spec).setdefault("gpus", per_task_gpus * tasks)
    resources = spec.get("resources") or {}
    assert isinstance(resources, dict)
    gpus = resources.get("gpus", 0)
    for name, key in (("_cpus_per_gpu", "cpus"), ("_memory_per_gpu", "memory_bytes")):
        per_gpu = spec.pop(name, None)
        if isinstance(per_gpu, int) and gpus:
            resources[key] = per_gpu * gpus

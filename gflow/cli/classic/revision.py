"""``gjob update``: options, and the changes that they mean for one job."""

from __future__ import annotations

import argparse
import os.path
from collections.abc import Callable
from typing import Any

from gflow.api import conda, dialect
from gflow.cli.classic import notation
from gflow.cli.command import Failure, Parser, whole

Record = dict[str, Any]

#: ``--clear-…`` → name of the field.
_CLEARS = {
    "clear_conda_env": "conda_env",
    "clear_time_limit": "time_limit",
    "clear_memory_limit": "memory_limit_mb",
    "clear_gpu_memory_limit": "gpu_memory_limit_mb",
    "clear_max_concurrent": "max_concurrent",
    "clear_max_retries": "max_retries",
}


class NothingToDo(Failure):
    """No option was given."""


def add_options(parser: Parser) -> None:
    """What can be changed."""
    add = parser.add_argument
    memory = notation.stated(notation.memory)
    add("-c", "--command", metavar="LINE", help="run this instead")
    add("-s", "--script", metavar="PATH", help="run this script instead")
    add("-g", "--gpus", type=whole(0, 1024), metavar="N")
    add("-e", "--conda-env", metavar="ENV")
    add("-p", "--priority", type=whole(0, 255), metavar="N")
    add("-t", "--time-limit", type=notation.stated(notation.time_limit), metavar="TIME")
    add("-m", "--memory-limit", type=memory, metavar="SIZE")
    add("--gpu-memory", "--max-gpu-mem", type=memory, metavar="SIZE")
    add("-d", "--depends-on", type=notation.stated(notation.ids), metavar="IDS")
    add("--depends-on-all", type=notation.stated(notation.ids), metavar="IDS")
    add("--depends-on-any", type=notation.stated(notation.ids), metavar="IDS")
    add("--auto-cancel-on-dep-failure", action="store_true")
    add("--no-auto-cancel-on-dep-failure", action="store_true")
    add("--max-concurrent", type=whole(1, 1 << 20), metavar="N")
    add("--max-retries", type=whole(0, 1_000_000), metavar="N")
    add("--param", action="append", metavar="KEY=VALUE", help="replaces all parameters")
    for name in _CLEARS:
        add(f"--{name.replace('_', '-')}", action="store_true")


def changes(
    options: argparse.Namespace, record: Record, cwd: str, script: Callable[[], str]
) -> tuple[Record, list[str]]:
    """Changes of a spec and the names of what changes. Raises Failure.

    ``script`` reads the job's.
    """
    named = _named(options)
    if not named:
        raise NothingToDo("No updates specified. Use --help to see available options.")
    found: Record = {}
    resources: Record = {}
    for name, value in named.items():
        if name == "gpus":
            resources["gpus"] = value
        elif name == "memory_limit_mb":
            resources["memory_bytes"] = value
        elif name == "gpu_memory_limit_mb":
            resources["gpu_memory_bytes"] = value
        elif name == "priority":
            found["priority"] = value
        elif name == "time_limit":
            found["time_limit_s"] = value
        elif name == "max_retries":
            found["retries"] = value or 0
        elif name == "max_concurrent":
            found["group_limit"] = value
        elif name == "auto_cancel_on_dependency_failure":
            found["kill_on_invalid_dependency"] = value
    if resources:
        found["resources"] = resources
    ids = options.depends_on_all or options.depends_on_any or options.depends_on
    if ids is not None:
        found["dependencies"] = [{"type": "afterok", "jobs": [job]} for job in ids]
        either = options.depends_on_any is not None and options.depends_on_all is None
        found["dependency_mode"] = "any" if either else "all"
    if named.keys() & {"command", "script", "conda_env", "parameters"}:
        found.update(_runs(options, record, named, cwd, script))
    return found, [name for name in dialect.CHANGEABLE if name in named]


def _named(options: argparse.Namespace) -> Record:
    given = {
        "command": options.command,
        "script": options.script,
        "gpus": options.gpus,
        "conda_env": options.conda_env,
        "priority": options.priority,
        "time_limit": options.time_limit,
        "memory_limit_mb": options.memory_limit,
        "gpu_memory_limit_mb": options.gpu_memory,
        "max_concurrent": options.max_concurrent,
        "max_retries": options.max_retries,
        "parameters": None if options.param is None else dict(map(_pair, options.param)),
    }
    named = {name: value for name, value in given.items() if value is not None}
    if options.depends_on or options.depends_on_all or options.depends_on_any:
        named["depends_on_ids"] = named["dependency_mode"] = True
    if options.auto_cancel_on_dep_failure or options.no_auto_cancel_on_dep_failure:
        named["auto_cancel_on_dependency_failure"] = not options.no_auto_cancel_on_dep_failure
    for flag, name in _CLEARS.items():
        if getattr(options, flag):
            named[name] = None
    return named


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"Invalid parameter format '{text}'. Expected KEY=VALUE")
    return key, value


def _runs(
    options: argparse.Namespace, record: Record, named: Record, cwd: str, script: Callable[[], str]
) -> Record:
    """What runs from now on, and how."""
    if record["script"] is None or options.command is not None or options.script is not None:
        return _command(options, record, named, cwd)
    if "parameters" in named:
        raise Failure("its script was captured with its parameters: give --command or --script")
    return conda.moved(record, script(), named["conda_env"])


def _command(options: argparse.Namespace, record: Record, named: Record, cwd: str) -> Record:
    """The command line anew, for another command, script, environment or other values."""
    labels = dict(record["labels"])
    parameters: dict[str, str] = named.get("parameters") or record["params"]
    script = labels.get("script")
    line = dialect.command(record)
    if options.script is not None:
        script, line = os.path.normpath(os.path.join(cwd, options.script)), None
    if options.command is not None:
        script, line = None, options.command
    words = [script] if script is not None else ["-c", dialect.substituted(line or "", parameters)]
    environment = named.get("conda_env", labels.get("conda_env"))
    spec: Record = {"command": ["bash", *words]}
    if environment:
        conda.enter(spec, environment)
    for name, text in (("script", script), ("command", line), ("conda_env", environment)):
        labels.pop(name, None)
        if text is not None:
            labels[name] = text
    return {"command": spec["command"], "params": parameters, "labels": labels}

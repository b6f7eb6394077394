"""Options that describe a job, for ``submit``, ``run`` and ``update``: from words to JSON keys."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from gflow.api import grammar, moment, quantity
from gflow.cli.command import EXIT_USAGE, Failure, whole, written

_INT32 = whole(-(2**31), 2**31 - 1)
#: Attribute of the parsed options → key of a spec, where the two are the same thing.
_PLAIN = {
    "name": "name",
    "time": "time_limit_s",
    "priority": "priority",
    "nice": "nice",
    "begin": "begin_at",
    "dependency": "dependencies",
    "output": "output_path",
    "error": "error_path",
    "open_mode": "open_mode",
    "retry_delay": "retry_delay_s",
    "requeue": "requeue",
    "project": "project",
    "comment": "comment",
    "on_end": "on_end",
    "grace": "grace_period_s",
    "linger": "linger",
    "signal": "warning",
    "max_output": "max_output_bytes",
    "array": "array",
}
_RESOURCES = {
    "cpus": "cpus",
    "mem": "memory_bytes",
    "gpus": "gpus",
    "gpu_memory": "gpu_memory_bytes",
    "gpu_shared": "gpu_shared",
    "gres": "gres",
    "exclusive": "exclusive",
    "gpus_allowed": "gpus_allowed",
}
#: Words of ``update --clear`` → key.
CLEARABLE = {
    "time": "time_limit_s",
    "begin": "begin_at",
    "dependency": "dependencies",
    "output": "output_path",
    "error": "error_path",
    "project": "project",
    "group": "group",
    "comment": "comment",
    "on-end": "on_end",
    "grace": "grace_period_s",
    "signal": "warning",
    "max-output": "max_output_bytes",
    "retries": "retries",
    "array-limit": "array_limit",
    **{word.replace("_", "-"): key for word, key in _RESOURCES.items()},
    "shared": "gpu_shared",
}
#: Keys that stand under ``resources``.
RESOURCES = frozenset(_RESOURCES.values())


#: What a job keeps of the environment with ``--export=NAMES``.
_BASIC_VARIABLES = ("PATH", "HOME", "USER", "SHELL", "LANG")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be said at submission and changed later."""
    resources = parser.add_argument_group("what it needs")
    add = resources.add_argument
    add("-c", "--cpus", type=whole(1, 65536), metavar="N", help="processors (1)")
    add(
        *("--mem", "--memory"),
        type=written(quantity.parse_size),
        metavar="SIZE",
        help="memory: 500M, 20G",
    )
    add("-G", "--gpus", type=whole(0, 1024), metavar="N", help="graphics cards (0)")
    add(
        "--gpu-memory",
        type=written(quantity.parse_size),
        metavar="SIZE",
        help="memory on each card",
    )
    add(
        "--shared",
        "--gpu-shared",
        dest="gpu_shared",
        action="store_true",
        default=None,
        help="share its cards with others, by --gpu-memory",
    )
    add(
        "--gpus-allowed",
        type=written(grammar.parse_cards),
        metavar="CARDS",
        help="only on these cards: 0,2-3",
    )
    add(
        "--gres",
        type=written(quantity.parse_counts),
        metavar="NAME:N",
        help="named counters: license:2,disk",
    )
    add("--exclusive", action="store_true", default=None, help="nothing else beside it")
    add("-t", "--time", type=written(_limit), metavar="TIME", help="limit: 30 (minutes), 2h, 1-12")
    order = parser.add_argument_group("when it runs")
    add = order.add_argument
    add("-p", "--priority", type=_INT32, metavar="N", help="higher comes first (10)")
    add("--nice", type=whole(-20, 19), metavar="N", help="niceness of its processes")
    add("-b", "--begin", type=written(_begin), metavar="WHEN", help="now+2h, 16:00, 2026-01-20")
    add(
        "-d",
        "--dependency",
        type=written(_checked_dependency),
        metavar="LIST",
        help="afterok:7:8,afterany:9 (all of them), afterok:7?afterok:8 (any), after:7+10, "
        "afternotok:7, aftercorr:7, singleton, @",
    )
    add(
        "--group",
        type=written(grammar.parse_group),
        metavar="NAME[%MAX]",
        help="a group of which at most MAX run at once",
    )
    add("--group-limit", type=whole(1, 1 << 20), metavar="MAX", help="the same")
    after = parser.add_argument_group("what becomes of it")
    add = after.add_argument
    add("-o", "--output", metavar="PATH", help="its output: %%j id, %%A array, %%a task, %%x name")
    add("-e", "--error", metavar="PATH", help="its errors, if not with the output")
    add(
        "--max-output",
        type=written(_most),
        metavar="SIZE",
        help="what comes beyond is dropped, the job goes on: 100M, none",
    )
    add("--open-mode", choices=("append", "truncate"), help="what happens to an existing file")
    add("--retries", type=whole(0, 1_000_000), metavar="N", help="if it fails, again: any:N")
    add(
        "--retry",
        action="append",
        type=written(_checked_retry),
        metavar="RULE",
        help="again by cause: any:2, oom:2,memory*1.5, timeout:1,time*2, exit=75:5, lost:1",
    )
    add("--retry-delay", type=written(_seconds), metavar="TIME", help="doubled each time")
    add(
        "--requeue",
        action=argparse.BooleanOptionalAction,
        help="run it again when its end could not be seen",
    )
    add("--grace", type=written(_seconds), metavar="TIME", help="from SIGTERM to SIGKILL")
    add(
        "--signal",
        type=written(quantity.parse_warning),
        metavar="[B:]SIG[@TIME]",
        help="to all its processes (B: its command) so long before the limit (USR1@60), "
        "the reason in $GFLOW_SIGNAL_REASON_FILE",
    )
    add("--linger", action="store_true", default=None, help="wait for what it left running")
    add(
        "--on-end",
        metavar="LINE",
        help="run this for bash once it has ended for good, with GFLOW_JOB_STATE, GFLOW_EXIT_CODE",
    )
    labels = parser.add_argument_group("labels")
    add = labels.add_argument
    add("-J", "--name", "--job-name", metavar="NAME", help="shown in lists")
    add("-P", "--project", metavar="NAME", help="what it is counted for")
    add("--comment", metavar="TEXT", help="shown by gflowctl show")


def collect(options: argparse.Namespace) -> dict[str, Any]:
    """The keys of a spec that the options name."""
    spec: dict[str, Any] = {}
    for attribute, key in _PLAIN.items():
        value = getattr(options, attribute, None)
        if value is not None:
            check_text(value, attribute)
            spec[key] = None if value is _NO_LIMIT else value
    spec.update(_retries(options))
    spec.update(_group(options))
    resources = {
        key: getattr(options, attribute)
        for attribute, key in _RESOURCES.items()
        if getattr(options, attribute) is not None
    }
    if resources:
        spec["resources"] = resources
    return spec


def _retries(options: argparse.Namespace) -> dict[str, Any]:
    """Rules of --retry, and --retries as one of them; the numbers 0 and N stand for themselves."""
    if not options.retry:
        return {} if options.retries is None else {"retries": options.retries}
    rules = list(options.retry)
    if options.retries:
        rules.append(f"any:{options.retries}")
    return {"retries": rules}


def _group(options: argparse.Namespace) -> dict[str, Any]:
    """The group, and how many of it may run at once."""
    spec: dict[str, Any] = {}
    limit = options.group_limit
    if options.group is not None:
        spec["group"], said = options.group
        check_text(spec["group"], "the group")
        if said is not None and limit is not None:
            raise Failure("the limit of the group is given twice: --group NAME%MAX", EXIT_USAGE)
        limit = said if limit is None else limit
    if limit is not None:
        spec["group_limit"] = limit
    return spec


def check_text(value: object, what: str) -> None:
    """Refuse what JSON cannot carry: an argument that is not UTF-8. Raises Failure."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Failure(f"{what} is not valid UTF-8: {os.fsencode(value)!r}"[:200]) from None


def parse_export(text: str) -> tuple[bool, dict[str, str | None]]:
    """(everything?, names with their new values, None for the present one) of ``--export``."""
    everything = False
    named: dict[str, str | None] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if item == "ALL":
            everything = True
        elif item != "NONE":
            if not name:
                raise Failure("--export needs ALL, NONE or names: A,B=c", EXIT_USAGE)
            named[name] = value if equals else None
    return everything, named


def exported(text: str, present: dict[str, str]) -> dict[str, str]:
    """Of the variables that are present those that ``--export`` names, with their new values."""
    everything, named = parse_export(text)
    variables = {
        name: value for name, value in present.items() if everything or name in _BASIC_VARIABLES
    }
    for name, value in named.items():
        if value is not None:
            check_text(value, f"the variable {name}")
            variables[name] = value
        elif name in present:
            variables[name] = present[name]
    return variables


#: Stands for "no limit" until the spec is made, where it is null.
_NO_LIMIT = object()


def _limit(text: str) -> Any:
    seconds = quantity.parse_duration(text)
    return seconds or _NO_LIMIT


def _most(text: str) -> int:
    return 0 if text.strip().lower() in ("none", "unlimited") else quantity.parse_size(text)


def _seconds(text: str) -> float:
    word = text + "s" if text.isascii() and text.isdigit() else text
    seconds = quantity.parse_duration(word)
    if seconds is None:
        raise quantity.GrammarError("a time without end cannot be used here")
    return seconds


def _begin(text: str) -> float:
    return moment.parse_begin(text, time.time())


def _checked_retry(text: str) -> str:
    grammar.parse_retry(text)
    return text


def _checked_dependency(text: str) -> str:
    grammar.parse_dependencies(text)
    return text


def checked_array(text: str) -> str:
    """The expression, if it is one."""
    grammar.parse_array(text)
    return text

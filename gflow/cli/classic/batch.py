"""``gbatch``: submit a command, a script or standard input; once, as an array, or as a sweep."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from typing import Any, NoReturn

from gflow.api import client, conda, dialect, quantity, surroundings, wire
from gflow.api.client import Client
from gflow.api.wire import Unreachable
from gflow.cli import request, wording
from gflow.cli.classic import directive, notation, sweep
from gflow.cli.command import EXIT_USAGE, Failure, Parser, whole, written

Spec = dict[str, Any]

#: Jobs in one submission.
_MOST = 10_000
_TASK_VARIABLES = ("$GFLOW_ARRAY_TASK_ID", "${GFLOW_ARRAY_TASK_ID}")
_ENDS = ("job_completed", "job_failed", "job_timeout", "job_cancelled")
#: Options of which a script and the command line may name several.
_LISTS = ("param", "notify_email", "notify_on")
#: Options that say nothing in a script: they are about this very submission.
_NOT_IN_SCRIPTS = ("dry_run", "strict")
_PARENTS = frozenset({"depends_on", "depends_on_all", "depends_on_any"})

_TEMPLATE = """\
#!/bin/bash
# Lines such as these are options of gbatch once they begin with a single #.

# cards
## GFLOW --gpus=1
# a higher number comes first
## GFLOW --priority=10
# minutes, MM:SS or HH:MM:SS
## GFLOW --time=02:00:00
## GFLOW --memory=8G
## GFLOW --conda-env=myenv
## GFLOW --depends-on=1

echo "Hello from $(hostname)"
"""


class _DirectiveParser(Parser):
    """The same options, in a script: errors name the line."""

    place = ""

    def error(self, message: str) -> NoReturn:
        raise Failure(f"{self.place}: {message}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that the command line and scripts share; all are None when they are not given."""
    add = parser.add_argument
    memory = notation.stated(notation.memory)
    add(
        "--begin",
        type=notation.stated(notation.begin),
        metavar="T",
        help="not before: now+2h, 16:00",
    )
    add("-c", "--conda-env", metavar="ENV", help="conda environment")
    add("-g", "--gpus", "--gres", type=whole(0, 2**32 - 1), metavar="N", help="cards (0)")
    add("--shared", action="store_true", default=None, help="share cards; needs --gpu-memory")
    add("-p", "--priority", "--nice", type=whole(0, 255), metavar="N", help="higher first (10)")
    depends = parser.add_mutually_exclusive_group().add_argument
    jobs = notation.stated(notation.parents)
    depends(
        *("-d", "--depends-on", "--dependency"),
        type=jobs,
        metavar="JOB",
        help="7, @ (my last), @~1",
    )
    depends("--depends-on-all", type=jobs, metavar="JOBS", help="7,8: all of them must succeed")
    depends("--depends-on-any", type=jobs, metavar="JOBS", help="7,8: one of them must succeed")
    add("--no-auto-cancel", action="store_true", default=None, help="wait on if one fails")
    add("--array", type=notation.stated(notation.array), metavar="A-B", help="one job per index")
    add(
        *("-t", "--time", "--time-limit", "--timelimit"),
        type=notation.stated(notation.time_limit),
        metavar="TIME",
        help="limit: minutes, MM:SS or HH:MM:SS",
    )
    add(
        "-m", "--memory", "--max-mem", "--max-memory", type=memory, metavar="SIZE", help="20G, 500M"
    )
    add(
        *("--gpu-memory", "--max-gpu-mem", "--max-gpu-memory"),
        type=memory,
        metavar="SIZE",
        help="memory on each card",
    )
    add("-n", "-J", "--name", "--job-name", metavar="NAME", help="part of its run name")
    add("--auto-close", action="store_true", default=None, help="its tmux session, after success")
    add("--pty", action=argparse.BooleanOptionalAction, help="on a terminal: gjob attach joins it")
    add(
        "--param",
        type=notation.stated(notation.parameter),
        action="append",
        metavar="SPEC",
        help="x=1,2 or x=0:1:0.1; repeatable",
    )
    add("--max-concurrent", type=whole(1, 1 << 20), metavar="N", help="of a sweep or array")
    add("--max-retries", type=whole(0, 1_000_000), metavar="N", help="if it fails, again")
    add("--param-file", metavar="CSV", help="one job per row")
    add(
        "--signal",
        type=written(quantity.parse_warning),
        metavar="[B:]SIG[@S]",
        help="before its time limit",
    )
    add("--max-output", type=memory, metavar="SIZE", help="of its log; the rest is dropped")
    add("--name-template", metavar="NAME", help="name with {param}")
    add("-P", "--project", metavar="NAME", help="what it is counted for")
    add(
        "--notify-email",
        type=notation.stated(notation.address),
        action="append",
        metavar="ADDRESS",
        help=argparse.SUPPRESS,
    )
    add("--notify-on", action="append", metavar="EVENTS", help=argparse.SUPPRESS)
    add("--dry-run", action="store_true", default=None, help="show the jobs, submit none")
    add("--strict", action="store_true", default=None, help="refuse inexact #SBATCH lines")


def parser() -> Parser:
    """Options of gbatch."""
    made = Parser(
        prog="gbatch", usage="gbatch [options] COMMAND … | SCRIPT [ARGS] | -  (or: gbatch new NAME)"
    )
    add_options(made)
    made.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    return made


def run(words: list[str]) -> int:
    """The command."""
    if words[:1] == ["new"]:
        if len(words) != 2:
            raise Failure("usage: gbatch new NAME (or gbatch -- new …, a command)", EXIT_USAGE)
        return _new(words[1])
    if words == ["help"]:
        words = ["--help"]
    options = parser().parse_args(words)
    base = _interpreted(options)
    translated = _directives(options, base)
    specs = _expanded(options, base, translated)
    if options.dry_run:
        return _show(options, specs)
    return _submit(options, specs)


def _new(name: str) -> int:
    path = name if name.endswith(".sh") else f"{name}.sh"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
    except FileExistsError:
        raise Failure(f"File '{path}' already exists.") from None
    except OSError as error:
        raise Failure(f"cannot create {path}: {str(error.strerror).lower()}") from None
    with open(fd, "w") as file:
        file.write(_TEMPLATE)
    return 0


# --- what to run ----------------------------------------------------------------------------------


def _interpreted(options: argparse.Namespace) -> Spec:
    words = options.words
    if not words and not sys.stdin.isatty():
        words = ["-"]
    if not words:
        raise Failure(
            "The following required arguments were not provided:\n  <SCRIPT_OR_COMMAND>...",
            EXIT_USAGE,
        )
    spec = wording.interpret(words)
    for word in [*spec.get("command", ()), *spec.get("args", ())]:
        request.check_text(word, "an argument")
    spec["_shown"] = shlex.join(words) if words[0] != "--" else shlex.join(words[1:])
    if spec.get("command", [])[:2] == ["bash", "-c"] and len(words) == 1:
        spec["_shown"] = words[0]
    if "script" in spec and words[0] != "-":
        spec["_path"] = os.path.abspath(words[0])
    return spec


def _directives(options: argparse.Namespace, spec: Spec) -> Spec:
    """Complete the options from the script's own lines; what its ``#SBATCH`` lines ask for."""
    text = spec.get("script")
    if text is None:
        return {}
    path = spec.get("_path", "standard input")
    parser = _DirectiveParser(prog="gbatch")
    add_options(parser)
    found: dict[str, Any] = {}
    places: dict[str, str] = {}
    for line in directive.gflow_lines(text, path):
        parser.place = f"{path}, line {line.number}"
        for name, value in vars(_parsed(parser, line.words)).items():
            if value is None or name in _NOT_IN_SCRIPTS:
                continue
            if name in _LISTS:
                value = [*found.get(name, ()), *value]
            elif name in found:
                parser.error(f"--{name.replace('_', '-')} is given twice")
            elif name in _PARENTS and found.keys() & _PARENTS:
                parser.error("only one of --depends-on, -all and -any can be given")
            found[name] = value
            places[name] = parser.place
    if _depends(options):
        for name in _PARENTS:
            found.pop(name, None)
    for name, value in found.items():
        if name == "notify_email":
            value = [*value, *(options.notify_email or ())]
        elif getattr(options, name) is not None:
            places.pop(name)
            continue
        setattr(options, name, value)
    options.places = places
    return _slurm(options, text, path)


class _Once(argparse.Namespace):
    """Options of one line, of which none may be given twice."""

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, name, None) is not None and name not in _LISTS:
            raise Failure(f"--{name.replace('_', '-')} is given twice")
        super().__setattr__(name, value)


def _parsed(parser: _DirectiveParser, words: list[str]) -> argparse.Namespace:
    try:
        return parser.parse_args(words, _Once())
    except Failure as error:  # of a value, which does not know where it stands
        known = str(error).startswith(parser.place)
        raise error if known else Failure(f"{parser.place}: {error}") from None


def _slurm(options: argparse.Namespace, text: str, path: str) -> Spec:
    translation = directive.translate(directive.sbatch_lines(text, path), path)
    for option, verdict, meaning in translation.notes:
        print(f"#SBATCH {option}: {verdict}: {meaning}", file=sys.stderr)
    inexact = [option for option, verdict, _ in translation.notes if verdict != "translated"]
    if options.strict and inexact:
        raise Failure(f"{path}: --strict, and these are not exact: {', '.join(inexact)}")
    return translation.spec


def _contradiction(options: argparse.Namespace, *names: str, text: str) -> Failure:
    """Options that do not go together; the last of them that a script gave says where."""
    places: dict[str, str] = getattr(options, "places", {})
    where = next((places[name] for name in names if name in places), None)
    return Failure(text if where is None else f"{where}: {text}")


# --- from options to specs ------------------------------------------------------------------------


def _expanded(options: argparse.Namespace, base: Spec, translated: Spec) -> list[Spec]:
    common = _common(options, base, translated)
    if options.param and options.array:
        text = "Cannot use both --param and --array together"
        raise _contradiction(options, "array", "param", text=text)
    if options.param_file and options.array:
        text = "Cannot use both --param-file and --array together"
        raise _contradiction(options, "array", "param_file", text=text)
    if options.array is not None:
        if len(options.array) > _MOST:
            raise Failure(f"{len(options.array)} jobs at once; gflowctl submit -a has no limit")
        specs = [_task(common, base, index) for index in options.array]
    elif options.param or options.param_file:
        rows = sweep.combinations(options.param or [], options.param_file)
        if len(rows) > _MOST:
            raise Failure(f"{len(rows)} jobs at once, at most {_MOST} are possible")
        specs = [_row(options, common, base, values) for values in rows]
    else:
        return [common]
    if options.max_concurrent is not None:
        import uuid

        group = str(uuid.uuid4())
        for spec in specs:
            spec.update(group=group, group_limit=options.max_concurrent)
    return specs


def _common(options: argparse.Namespace, base: Spec, translated: Spec) -> Spec:
    if options.shared and not options.gpu_memory:
        text = (
            "Shared jobs must set a GPU memory limit. "
            "Use --gpu-memory (alias: --max-gpu-mem) with --shared."
        )
        raise _contradiction(options, "shared", text=text)
    own = {key: value for key, value in base.items() if not key.startswith("_")}
    spec = {**surroundings.here(), **own, "cwd": os.getcwd()}
    spec.update(translated)
    variables = request.exported(spec.pop("_export", "ALL"), client.environment())
    spec["env"] = {**variables, "GFLOW_ARRAY_TASK_ID": "0"}
    name = dialect.normalised(options.name or str(translated.get("name", "")))
    spec["name"] = name or spec.get("name") or _default_name(base)
    if options.priority is not None:
        spec["priority"] = options.priority
    spec.setdefault("priority", 10)
    if options.no_auto_cancel:
        spec["kill_on_invalid_dependency"] = False
    spec.setdefault("kill_on_invalid_dependency", True)
    spec["resources"] = _resources(options, dict(translated.get("resources", {})))
    spec.update(_given(options))
    conditions, mode = _depends(options) or ([], "all")
    if conditions:
        spec.update(dependencies=conditions, dependency_mode=mode)
    spec["labels"] = _labels(options, base, name)
    if options.conda_env:
        conda.enter(spec, options.conda_env, base.get("_path"))
    return spec


def _default_name(base: Spec) -> str:
    words = base["command"]
    if words[:2] == ["bash", "-c"] and len(words) == 3:
        words = words[2].split() or words
    return os.path.basename(words[0]) or "job"


def _given(options: argparse.Namespace) -> Spec:
    """Fields that are in the spec only when somebody named them."""
    fields = {
        "time_limit_s": options.time,
        "begin_at": options.begin,
        "retries": options.max_retries,
        "project": dialect.project(options.project),
        "warning": options.signal,
        "max_output_bytes": options.max_output,
        "pty": options.pty,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _resources(options: argparse.Namespace, found: dict[str, Any]) -> dict[str, Any]:
    if options.gpus is not None:
        found["gpus"] = options.gpus
    if options.memory is not None:
        found["memory_bytes"] = options.memory
    if found.get("gpus"):
        if options.gpu_memory is not None:
            found["gpu_memory_bytes"] = options.gpu_memory
        if options.shared:
            found["gpu_shared"] = True
    return found


def _depends(options: argparse.Namespace) -> tuple[list[dict[str, Any]], str] | None:
    """Conditions and their mode; None without any."""
    jobs, mode = options.depends_on or options.depends_on_all, "all"
    if jobs is None:
        jobs, mode = options.depends_on_any, "any"
    if jobs is None:
        return None
    return [{"type": "afterok", "jobs": [job]} for job in jobs], mode


def _labels(options: argparse.Namespace, base: Spec, name: str) -> dict[str, str]:
    labels = {"run_name": name, "command": base["_shown"]}
    if "_path" in base:
        labels = {"run_name": name, "script": base["_path"]}
    user = os.environ.get("USER") or os.environ.get("USERNAME")
    entered = options.conda_env
    if entered is None and "script" not in base:
        entered = os.environ.get("CONDA_DEFAULT_ENV")
    events = [one for text in options.notify_on or () for one in text.split(",") if one]
    found = {
        **labels,
        "submitted_by": user,
        "conda_env": entered,
        "auto_close_tmux": "True" if options.auto_close else None,
        "notify_emails": ",".join(options.notify_email or ()),
        "notify_events": ",".join(events or _ENDS) if options.notify_email else None,
    }
    return {key: value for key, value in found.items() if value or key == "run_name"}


def _task(common: Spec, base: Spec, index: int) -> Spec:
    """One job of an array: the index where the words name its variable, and as a label."""
    spec = _copied(common, {"GFLOW_ARRAY_TASK_ID": str(index)}, {"task_id": str(index)})
    for key in ("command", "args"):
        if key in spec and base.get("command", [])[:2] != ["bash", "-c"]:
            spec[key] = [_with_index(word, str(index)) for word in spec[key]]
    return spec


def _with_index(word: str, index: str) -> str:
    for variable in _TASK_VARIABLES:
        word = word.replace(variable, index)
    return word


def _row(options: argparse.Namespace, common: Spec, base: Spec, values: dict[str, str]) -> Spec:
    """One job of a sweep: values in its words, its environment, and its name."""
    spec = _copied(common, {f"GFLOW_PARAM_{name}": value for name, value in values.items()}, {})
    spec["params"] = values
    if base.get("command", [])[:2] == ["bash", "-c"] and len(base["command"]) == 3:
        spec["command"] = [*spec["command"][:-1], dialect.substituted(base["command"][2], values)]
    else:
        for key in ("command", "args"):
            if key in spec:
                spec[key] = [dialect.filled(word, values) for word in spec[key]]
    if options.name_template:
        spec["name"] = sweep.name(options.name_template, values) or spec["name"]
        spec["labels"]["run_name"] = sweep.name(options.name_template, values)
    return spec


def _copied(common: Spec, variables: dict[str, str], labels: dict[str, str]) -> Spec:
    return {
        **common,
        "env": {**common["env"], **variables},
        "labels": {**common["labels"], **labels},
    }


# --- the end of it --------------------------------------------------------------------------------


def _show(options: argparse.Namespace, specs: list[Spec]) -> int:
    kind = "array" if options.array is not None else "batch"
    print(f"Would submit {len(specs)} {kind} job(s):" if _many(options) else _ONE)
    for number, spec in enumerate(specs, 1):
        labels = spec["labels"]
        shown = labels.get("script") or dialect.substituted(
            labels["command"], spec.get("params", {})
        )
        task = f", task_id: {labels['task_id']}" if "task_id" in labels else ""
        print(f"  [{number}] {shown} (GPUs: {spec['resources'].get('gpus', 0)}{task})")
    return 0


_ONE = "Would submit 1 batch job:"


def _many(options: argparse.Namespace) -> bool:
    return bool(options.param or options.param_file or options.array is not None)


def _submit(options: argparse.Namespace, specs: list[Spec]) -> int:
    connection = Client()
    key = wire.new_key()
    body = specs if len(specs) > 1 else specs[0]
    try:
        try:
            answer = connection.submit_specs(body, key=key)
        except Unreachable:
            from gflow.cli import spawning

            if not spawning.may_start_by_itself():
                raise
            spawning.start(None, None)
            answer = connection.submit_specs(body, key=key)
    finally:
        connection.close()
    ids = answer["job_ids"]
    if _many(options) and options.max_concurrent is not None:
        print(f"Submitted {len(ids)} batch jobs with group_id: {specs[0]['group']}")
        print(f"  (You can update the limit with: gctl set-limit {ids[0]} <N>)")
    for job_id, spec in zip(ids, specs):
        print(f"Submitted batch job {job_id} ({dialect.named(job_id, spec['labels']['run_name'])})")
    return 0

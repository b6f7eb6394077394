"""``submit`` and ``run``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from gflow.api import client, surroundings, wire
from gflow.api.wire import Unreachable
from gflow.cli import following, likeness, outcome, rehearsal, request, selection, sweeping, wording
from gflow.cli.command import EXIT_FAILED, EXIT_USAGE, Failure, Parser, written
from gflow.cli.session import Session

_EXIT_INTERRUPTED = 130

_EPILOG = """\
examples:
  gflowctl {name} python train.py --lr 0.1      a command
  gflowctl {name} -c 4 --mem 8G -t 2h job.sh    a script, captured as it is now
  gflowctl {name} 'make && make test'           a line for bash
  gflowctl {name} -a 1-100%4 -- ./step          an array, four tasks at a time
  gflowctl {name} --param lr=0.1,0.01 --param seed=1..5 ./train --lr {{lr}}
  echo 'hostname' | gflowctl {name} -           a script from standard input
"""


def configure(name: str, parser: Parser) -> None:
    """Options of ``submit`` or ``run``."""
    parser.usage = f"{parser.prog} [options] [--] COMMAND … | SCRIPT [ARGS] | -"
    parser.epilog = _EPILOG.format(name=name)
    request.add_options(parser)
    add_options(parser)
    add = parser.add_argument
    if name == "submit":
        add("-H", "--hold", action="store_true", help="keep it pending until it is released")
        add("--parsable", action="store_true", help="print the id alone")
        add("--no-wait", action="store_true", help="answer before it is on disk")
        add("-W", "--wait", action="store_true", help="wait for its end, exit with its code")
        add("--dry-run", action="store_true", help="only show what would be submitted")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")


def add_options(parser: Parser) -> None:
    """What can only be said before a job exists."""
    add = parser.add_argument
    add("-a", "--array", type=written(request.checked_array), metavar="TASKS", help="1-100%%4")
    add("-D", "--chdir", metavar="DIR", help="the folder it runs in (this one)")
    add("--export", metavar="LIST", default="ALL", help="environment: ALL, NONE, A,B=c, ALL,A=b")
    add("--wrap", metavar="LINE", help="a line for bash, instead of a command")
    add(
        "--pty",
        action=argparse.BooleanOptionalAction,
        help="run it on a terminal that gflowctl attach joins",
    )
    add("--rlimit", action="append", type=written(_rlimit), metavar="NAME=SOFT[:HARD]")
    add("--kill-on-invalid-dep", action="store_true", help="cancel it when it can never start")
    add(
        "--like",
        metavar="JOB",
        help="what is not named here: as much as this job was measured to use, and some room",
    )
    sweeping.add_options(parser)


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Submit one job, and perhaps stay with it."""
    specs = make_specs(options, session)
    if name == "run":
        if len(specs) > 1:
            raise Failure("run takes one job or array: this sweep is for submit", EXIT_USAGE)
        return _run(specs[0], session)
    if options.hold:
        specs = [{**spec, "hold": True} for spec in specs]
    if options.dry_run:
        return rehearsal.show(specs, session)
    asked = specs if len(specs) > 1 else specs[0]
    answer = _submit(asked, session, wire.new_key(), durable=not options.no_wait)
    ids = answer["job_ids"]
    if not options.wait and session.as_json:
        session.print_json(answer)
    elif not session.as_json:
        print(_told(ids, parsable=options.parsable), flush=True)
    if not answer["durable"] and not options.no_wait:
        session.warn(f"job {ids[0]} is accepted but not on disk yet; gflowctl status says why")
    if not options.wait:
        return 0
    records = [session.client.wait(job_id) for job_id in ids]
    if session.as_json:
        session.print_json({**answer, "jobs": records})
    return max(outcome.exit_code(record, session.client) for record in records)


def _told(ids: list[int], *, parsable: bool) -> str:
    if parsable:
        return "\n".join(map(str, ids))
    if len(ids) == 1:
        return f"Submitted batch job {ids[0]}"
    return f"Submitted {len(ids)} batch jobs, {ids[0]} to {ids[-1]}"


def make_specs(options: argparse.Namespace, session: Session) -> list[dict[str, Any]]:
    """Specs of options and words: one, unless a sweep needs several."""

    def make(words: list[str]) -> dict[str, Any]:
        options.words = words
        spec = make_spec(options, session)
        if options.array_limit is not None:
            spec["array_limit"] = options.array_limit
        return spec

    like = _record_to_be_like(options.like, session)
    if options.sweep:
        found = sweeping.specs(options.sweep, options.words, make)
    else:
        found = [make(options.words)]
    if like is not None:
        told = [likeness.fill(spec, like) for spec in found]
        session.warn(told[-1])  # the specs differ in nothing that is taken
    if len(found) > 1 and (options.array is not None or options.array_limit is not None):
        raise Failure("these jobs are no array: --group NAME%MAX bounds them", EXIT_USAGE)
    return found


def _record_to_be_like(job: str | None, session: Session) -> dict[str, Any] | None:
    if job is None:
        return None
    references = selection.references([job])
    if len(references) != 1:
        raise Failure(f"--like takes one job, not {len(references)}: 7, 7_3, @", EXIT_USAGE)
    return _reached(session, lambda: session.client.job(references[0]))


def make_spec(options: argparse.Namespace, session: Session) -> dict[str, Any]:
    """The spec that options and words describe."""
    words = options.words
    if options.wrap is not None:
        if words:
            raise Failure("--wrap is the command: no other words may follow", EXIT_USAGE)
        spec: dict[str, Any] = {"command": ["bash", "-c", options.wrap], "name": "wrap"}
    else:
        spec = wording.interpret(words)
    for word in [*spec.get("command", ()), *spec.get("args", ())]:
        request.check_text(word, "an argument")
    spec.update(request.collect(options))
    spec["cwd"] = _folder(options.chdir)
    spec = {**surroundings.here(), **spec}
    environment = _environment(options.export, session)
    if environment is not None:
        spec["env"] = environment
    if options.pty is not None:
        spec["pty"] = options.pty
    if options.rlimit:
        spec["rlimits"].update({name: [soft, hard] for name, soft, hard in options.rlimit})
    if options.kill_on_invalid_dep:
        spec["kill_on_invalid_dependency"] = True
    return spec


def _submit(
    spec: dict[str, Any] | list[dict[str, Any]], session: Session, key: str, *, durable: bool = True
) -> dict[str, Any]:
    answer = _reached(session, lambda: session.client.submit_specs(spec, durable=durable, key=key))
    for sentence in answer.get("advice", ()):
        session.warn(sentence)
    return answer


def _reached(session: Session, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer, of a supervisor that is started for it if need be and allowed."""
    try:
        return ask()
    except Unreachable:
        from gflow.cli import spawning

        spawning.ensure(session)
    return ask()


def _run(spec: dict[str, Any], session: Session) -> int:
    key = wire.new_key()
    present = _present_bytes(spec)
    try:
        answer = _submit(spec, session, key)
        job_id = answer["job_ids"][0]
        if "array_tasks" in answer or session.as_json:
            record = session.client.wait(job_id)
        elif (record := session.client.job(job_id)).get("pty"):
            from gflow.cli import attaching

            return attaching.stay(record, session.client)
        else:
            out, err = sys.stdout.buffer, sys.stderr.buffer
            record = following.follow_new(job_id, session.client, out, err, offset=present)
    except KeyboardInterrupt:
        # Perhaps in the middle of the submission: its key tells which job it is, or makes it now.
        session.close()
        job_id = session.client.submit_specs(spec, key=key)["job_ids"][0]
        session.client.cancel(job_id)
        session.warn(f"job {job_id} is cancelled")
        return _EXIT_INTERRUPTED
    if session.as_json:
        session.print_json(record)
    elif record["state"] != "COMPLETED":
        session.warn(outcome.sentence(record))
    return outcome.exit_code(record, session.client)


def _present_bytes(spec: dict[str, Any]) -> int:
    """How much the output file holds already, if the job will append to it."""
    path = spec.get("output_path")
    if path is None or "%" in path or spec.get("open_mode") != "append":
        return 0
    try:
        return os.stat(os.path.join(spec["cwd"], path)).st_size
    except OSError:
        return 0


def _folder(chdir: str | None) -> str:
    try:
        here = os.getcwd()
    except OSError:
        if chdir is None or not chdir.startswith("/"):
            raise Failure("this folder does not exist any more; see --chdir", EXIT_FAILED) from None
        here = "/"
    folder = os.path.join(here, chdir) if chdir else here
    request.check_text(folder, "the folder")
    return os.path.normpath(folder)


def _environment(export: str, session: Session) -> dict[str, str] | None:
    everything, named = request.parse_export(export)
    if not everything and not named:
        return None
    present = client.environment()
    if everything and len(present) < len(os.environ):
        dropped = sorted(ascii(name) for name in os.environ.keys() - present.keys())
        session.warn(f"variables that are not UTF-8 are left out: {', '.join(dropped)}"[:500])
    return request.exported(export, present)


def _rlimit(text: str) -> tuple[str, int, int]:
    from gflow.api.quantity import parse_rlimit

    return parse_rlimit(text)

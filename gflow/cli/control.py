"""``cancel``, ``hold``, ``release``, ``requeue``, ``suspend``, ``resume`` and ``update``."""

from __future__ import annotations

import argparse
import os.path
from typing import Any

from gflow.api import conda
from gflow.api.quantity import parse_signal, signal_name
from gflow.api.wire import Refusal
from gflow.cli import request, selection, wording
from gflow.cli.command import (
    EXIT_FAILED,
    EXIT_TRY_LATER,
    EXIT_USAGE,
    Failure,
    Parser,
    whole,
    written,
)
from gflow.cli.session import Session

_DONE = {
    "cancel": "Cancelled",
    "hold": "Held",
    "release": "Released",
    "requeue": "Requeued",
    "suspend": "Suspended",
    "resume": "Resumed",
}
_EPILOG = """\
examples:
  gflowctl {name} 7 9-12         jobs by id
  gflowctl {name} 7_3            task 3 of array 7
  gflowctl {name} @              my last job
  gflowctl {name} -J train --me  mine that are called train
  gflowctl {name} --all          all of mine
"""
#: Refusals that are told one by one.
_TOLD = 20


def configure(name: str, parser: Parser) -> None:
    """Options of one of them."""
    add = parser.add_argument
    if name == "update":
        add("jobs", nargs="+", metavar="JOB", help="7, 3-9, 4,6, 7_3, @")
        request.add_options(parser)
        add("--script", metavar="FILE", help="run this script instead (-: standard input)")
        add("--array-limit", type=whole(1, 2**31 - 1), metavar="N", help="tasks at once (a of %%N)")
        add(
            "--top",
            action=argparse.BooleanOptionalAction,
            help="before all others, whatever their priority (admins)",
        )
        add(
            "--clear",
            action="append",
            metavar="FIELDS",
            help="back to the default: " + ", ".join(request.CLEARABLE),
        )
        return
    parser.epilog = _EPILOG.format(name=name)
    add("jobs", nargs="*", metavar="JOB", help="7, 3-9, 4,6, 7_3, @")
    selection.add_filters(parser)
    add("--all", action="store_true", help="all of mine")
    if name == "cancel":
        add("-s", "--signal", type=written(parse_signal), metavar="SIG", help="only send this")
        add("--tree", action="store_true", help="with --signal: to all of its processes")
        add("--wait", action="store_true", help="until they have ended")


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Ask for it, and tell what was done and what was refused."""
    return _update(options, session) if name == "update" else _act(name, options, session)


def _act(name: str, options: argparse.Namespace, session: Session) -> int:
    jobs = selection.references(options.jobs)
    filters = selection.filters(options)
    if not (jobs or filters or options.all):
        raise Failure(f"nothing is named: {name} needs jobs, filters or --all", EXIT_USAGE)
    if options.all and jobs:
        raise Failure(f"--all means all of mine: {name} takes it or jobs, not both", EXIT_USAGE)
    if options.all:
        filters["all"] = True
    number = getattr(options, "signal", None)
    if number is not None:
        answer = session.client.act("signal", *jobs, signal=number, tree=options.tree, **filters)
    elif getattr(options, "tree", False):
        raise Failure("--tree belongs to --signal", EXIT_USAGE)
    else:
        answer = session.client.act(name, *jobs, **filters)
    if getattr(options, "wait", False):
        for job_id in answer["job_ids"]:
            session.client.wait(job_id)
    if session.as_json:
        session.print_json(answer)
    else:
        done = _DONE[name] if number is None else f"Sent {signal_name(number)} to"
        _tell(done, answer, session)
    return _exit_code(answer, session)


def _tell(done: str, answer: dict[str, Any], session: Session) -> None:
    ids = answer["job_ids"]
    if len(ids) == 1:
        print(f"{done} job {ids[0]}")
    elif ids:
        print(f"{done} {len(ids)} jobs")
    elif not answer["refused"]:
        print("No job matches")


def _exit_code(answer: dict[str, Any], session: Session) -> int:
    refused = answer["refused"]
    for refusal in refused[:_TOLD]:
        session.warn(refusal["message"])
    if len(refused) > _TOLD:
        session.warn(f"and {len(refused) - _TOLD} more were refused")
    if not answer["durable"]:
        session.warn("done, but not on disk yet; gflowctl status says why")
    if refused and all(refusal["kind"] == "unavailable" for refusal in refused):
        return EXIT_TRY_LATER
    return EXIT_FAILED if refused else 0


def _script(record: dict[str, Any], text: str, path: str) -> dict[str, Any]:
    """Changes that let a job run another script with the arguments it has."""
    spec: dict[str, Any] = {"script": text, "args": record["args"] or []}
    labels = dict(record["labels"])
    if labels.pop("command", None) is not None or "script" in labels:
        # What the older commands show of it.
        labels["script"] = "-" if path == "-" else os.path.abspath(path)
        spec["labels"] = labels
    if "conda_env" in labels:
        conda.enter(spec, labels["conda_env"], labels.get("script"))
    return spec


def _update(options: argparse.Namespace, session: Session) -> int:
    changes = request.collect(options)
    if options.array_limit is not None:
        changes["array_limit"] = options.array_limit
    if options.top is not None:
        changes["top"] = int(options.top)
    for word in ",".join(options.clear or ()).split(",") if options.clear else ():
        if word not in request.CLEARABLE:
            known = ", ".join(request.CLEARABLE)
            raise Failure(f"{word!r} cannot be cleared; these can: {known}", EXIT_USAGE)
        key = request.CLEARABLE[word]
        fields = changes.setdefault("resources", {}) if key in request.RESOURCES else changes
        if key in fields:
            raise Failure(f"{word} is both cleared and set: say one of them", EXIT_USAGE)
        fields[key] = None
    script = None if options.script is None else wording.script(options.script)
    if not changes and script is None:
        raise Failure("nothing is to be changed: see gflowctl update --help", EXIT_USAGE)
    answers, refused = [], []
    for job in selection.references(options.jobs):
        try:
            if script is not None:
                changes.update(_script(session.client.job(job), script, options.script))
            answers.append(session.client.update(job, changes))
        except Refusal as error:
            if error.status in (400, 500):
                raise
            refused.append({"id": job, "kind": error.kind, "message": str(error)})
    if session.as_json:
        session.print_json([answer["job"] for answer in answers])
    durable = all(answer["durable"] for answer in answers)
    result = {
        "job_ids": [answer["job"]["id"] for answer in answers],
        "refused": refused,
        "durable": durable,
    }
    if not session.as_json:
        _tell("Updated", result, session)
    return _exit_code(result, session)

"""``gcancel``: end jobs."""

from __future__ import annotations

import argparse

from gflow.api import dialect
from gflow.api.client import Client
from gflow.api.wire import Refusal
from gflow.cli.classic import notation
from gflow.cli.command import Failure, Parser, whole


def parser() -> Parser:
    """Options of gcancel."""
    made = Parser(prog="gcancel")
    add = made.add_argument
    add("--dry-run", action="store_true", help="tell what would be ended")
    for hidden in ("--cancel", "--kill"):
        add(hidden, action="store_true", help=argparse.SUPPRESS)
    for hidden in ("--finish", "--fail"):
        add(hidden, type=whole(0, 2**63 - 1), metavar="ID", help=argparse.SUPPRESS)
    add("ids", nargs="?", metavar="IDS", help="7, 3-9, 4,6")
    return made


def run(words: list[str]) -> int:
    """The command."""
    options = parser().parse_args(words)
    if options.finish is not None or options.fail is not None:
        raise Failure("a job ends as its command does: it cannot be declared finished or failed")
    if options.ids is None:
        raise Failure(
            "No command specified. Use --finish <id>, --fail <id>, or provide job IDs to cancel"
        )
    ids = notation.ids(options.ids)
    with Client() as client:
        return _preview(client, ids) if options.dry_run else _cancel(client, ids)


def _cancel(client: Client, ids: list[int]) -> int:
    answer = client.cancel(*ids)
    refused = {refusal["id"]: refusal["message"] for refusal in answer["refused"]}
    for job_id in ids:
        if job_id not in refused:
            print(f"Job {job_id} cancelled.")
    if refused:
        raise Failure("\n".join(f"Failed to cancel job: {text}" for text in refused.values()))
    return 0


def _preview(client: Client, ids: list[int]) -> int:
    live = list(client.each_job())
    for job_id in ids:
        try:
            record = client.job(job_id)
        except Refusal as error:
            if error.status != 404:
                raise
            raise Failure(f"Job {job_id} not found") from None
        state = dialect.state(record)
        able = "ok" if state in ("Queued", "Hold", "Running") else "invalid"
        print(f"{job_id}\t{state}\t{able}")
        for one in live:
            if dialect.state(one) in ("Queued", "Hold") and job_id in dialect.parent_ids(one):
                print(f"{one['id']}\t{dialect.state(one)}\tblocked\t{job_id}")
    return 0

"""``gjob redo``: submit a finished job again, perhaps with what was cancelled because of it."""

from __future__ import annotations

import argparse
import os
from typing import Any

from gflow.api import client as api
from gflow.api import conda, dialect, surroundings
from gflow.api.client import Client
from gflow.cli.classic import notation, queue, sheet
from gflow.cli.command import Failure, Parser, whole

Record = dict[str, Any]


def add_options(parser: Parser) -> None:
    """What may be different this time."""
    add = parser.add_argument
    memory = notation.stated(notation.memory)
    add("-g", "--gpus", type=whole(0, 1024), metavar="N")
    add("-p", "--priority", type=whole(0, 255), metavar="N")
    add("-d", "--depends-on", metavar="JOB", help="7, @ or @~1 instead of what it depended on")
    add("-t", "--time", type=notation.stated(notation.time_limit), metavar="TIME")
    add("-m", "--memory", type=memory, metavar="SIZE")
    add("--gpu-memory", "--max-gpu-mem", type=memory, metavar="SIZE")
    add("-e", "--conda-env", metavar="ENV", help="conda environment")
    add("--clear-deps", action="store_true", help="depend on nothing")
    add("--cascade", action="store_true", help="also what was cancelled because of it")


def run(client: Client, job_id: int, options: argparse.Namespace) -> int:
    """Submit it again and say so."""
    record = client.job(job_id)
    state = dialect.state(record)
    if state in ("Queued", "Hold"):
        raise Failure(
            f"Job {job_id} is still in {state} state. Use `gjob update` to modify its parameters."
        )
    if state == "Running":
        raise Failure(f"Job {job_id} is still running. Wait for it to finish or cancel it first.")
    spec = again(client, record)
    _change(client, spec, options)
    print(f"Resubmitting job {job_id} with parameters:")
    for name, value in _told(record, spec, options):
        print(f"  {name}={value}")
    new_id, name = _submit(client, spec)
    print(f"\nSubmitted batch job {new_id} ({name})")
    if options.cascade:
        _cascade(client, job_id, new_id)
    return 0


def again(client: Client, record: Record) -> Record:
    """The spec of a job, from its record: the environment is that of whoever asks now.

    A script is the one that was captured when it was submitted.
    """
    resources = {name: value for name, value in record["resources"].items() if value}
    spec: Record = {
        "command": record["command"],
        "name": record["name"],
        "cwd": record["cwd"],
        **surroundings.here(),
        "env": {**api.environment(), "GFLOW_ARRAY_TASK_ID": str(dialect.task(record) or 0)},
        "priority": record["priority"],
        "resources": resources,
        "time_limit_s": record["time_limit_s"],
        "dependencies": [{"type": d["type"], "jobs": d["jobs"]} for d in record["dependencies"]],
        "dependency_mode": record["dependency_mode"],
        "kill_on_invalid_dependency": record["kill_on_invalid_dependency"],
        "retries": [{"cause": r["cause"], "times": r["times"]} for r in record["retries"]],
        "project": record["project"],
        "group": record["group"],
        "params": record["params"],
        "pty": record["pty"],
        "labels": {**record["labels"], "run_name": "", "redone_from": str(record["id"])},
    }
    if record["script"] is not None:
        del spec["command"]
        spec.update(script=client.script(record["id"]), args=record["args"])
    return spec


def _change(client: Client, spec: Record, options: argparse.Namespace) -> None:
    if options.gpus is not None:
        spec["resources"]["gpus"] = options.gpus
    if options.memory is not None:
        spec["resources"]["memory_bytes"] = options.memory
    if options.gpu_memory is not None:
        spec["resources"]["gpu_memory_bytes"] = options.gpu_memory
    if options.priority is not None:
        spec["priority"] = options.priority
    if options.time is not None:
        spec["time_limit_s"] = options.time
    if options.conda_env is not None:
        conda.enter(spec, options.conda_env, spec["labels"].get("script"))
    if options.clear_deps:
        spec["dependencies"] = []
    elif options.depends_on is not None:
        parent = client.job(options.depends_on)["id"]
        spec["dependencies"] = [{"type": "afterok", "jobs": [parent]}]


def _told(record: Record, spec: Record, options: argparse.Namespace) -> list[tuple[str, Any]]:
    labels, wanted = spec["labels"], spec["resources"]
    parents = dialect.parent_ids(spec)
    told = [
        ("Script", labels.get("script")),
        ("Command", dialect.command(record)),
        ("GPUs", wanted.get("gpus", 0)),
        ("GPUSharing", "shared" if wanted.get("gpu_shared") else None),
        ("Priority", spec["priority"]),
        ("CondaEnv", labels.get("conda_env")),
        ("TimeLimit", None if spec["time_limit_s"] is None else sheet.clock(spec["time_limit_s"])),
        ("MemoryLimit", _size(wanted.get("memory_bytes"))),
        ("GPUMemoryLimit", _size(wanted.get("gpu_memory_bytes"))),
        ("DependsOn", ",".join(map(str, parents)) or None),
        ("Dependencies", "(cleared)" if options.clear_deps else None),
        ("Parameters", ", ".join(f"{k}={v}" for k, v in spec["params"].items()) or None),
    ]
    return [(name, value) for name, value in told if value is not None]


def _size(size: int | None) -> str | None:
    return sheet.size(size) if size else None


def _submit(client: Client, spec: Record, *, durable: bool = True) -> tuple[int, str]:
    spec["labels"]["submitted_by"] = os.environ.get("USER", "")
    new_id = client.submit_specs(spec, durable=durable)["job_ids"][0]
    return new_id, dialect.named(new_id, spec["labels"]["run_name"])


def _cascade(client: Client, old: int, new: int) -> None:
    cancelled = queue.collect(client, frozenset({"Cancelled"}), None)
    culprits = queue.lost_to(client, cancelled)
    chosen = behind(culprits, old)
    if not chosen:
        print("\nNo dependent jobs to cascade.")
        return
    print(f"\nCascading to {len(chosen)} dependent job(s)...")
    records = {one["id"]: one for one in cancelled}
    renewed = {old: new}
    for job_id in chosen:
        spec = again(client, records[job_id])
        for condition in spec["dependencies"]:
            condition["jobs"] = [renewed.get(parent, parent) for parent in condition["jobs"]]
        # The last one is saved after those before it.
        new_id, name = _submit(client, spec, durable=job_id == chosen[-1])
        renewed[job_id] = new_id
        print(f"  Job {job_id} → Job {new_id} ({name})")
    print("\nCascade complete.")


def behind(culprits: dict[int, int], first: int) -> list[int]:
    """Ids of all jobs that were lost to ``first``, or to another that was, in their order."""
    lost: dict[int, list[int]] = {}
    for one, culprit in culprits.items():
        lost.setdefault(culprit, []).append(one)
    found: set[int] = set()
    left = [first]
    while left:
        new = [one for one in lost.get(left.pop(), ()) if one not in found]
        found.update(new)
        left += new
    return sorted(found - {first})

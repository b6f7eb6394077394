"""How a job ended, as an exit code and as a sentence."""

from __future__ import annotations

from typing import Any

from gflow.api.client import Client
from gflow.api.quantity import signal_name
from gflow.cli.rendering import escape

_EXIT_OF_STATE = {"COMPLETED": 0, "TIMEOUT": 124, "OUT_OF_MEMORY": 137}


def exit_code(record: dict[str, Any], client: Client) -> int:
    """The exit code for a record of an ended job; of an array, its tasks' highest."""
    code = _own_code(record)
    array = record.get("array")
    if array and array.get("task") is None and record["state"] == "FAILED":
        tasks = [
            *client.each_job(ids=[record["id"]], ended=True),
            *client.each_past_job(ids=[record["id"]]),
        ]
        codes = [_own_code(task) for task in tasks if task["id"] != record["id"]]
        return max([code, *codes]) if any(codes) else code
    return code


def _own_code(record: dict[str, Any]) -> int:
    state = record["state"]
    if state in _EXIT_OF_STATE:
        return _EXIT_OF_STATE[state]
    if state != "FAILED":
        return 1
    if record.get("exit_code"):
        return int(record["exit_code"])
    if record.get("signal"):
        return 128 + int(record["signal"])
    return 1


def sentence(record: dict[str, Any]) -> str:
    """``job 7 is FAILED: exit code 3``."""
    why = []
    if record.get("exit_code") is not None:
        why.append(f"exit code {record['exit_code']}")
    if record.get("signal") is not None:
        why.append(signal_name(record["signal"]))
    if record.get("reason"):
        why.append(escape(str(record["reason"])))
    return f"job {job_name(record)} is {record['state']}" + (": " + ", ".join(why) if why else "")


def job_name(record: dict[str, Any]) -> str:
    """``7``, ``7_3`` for a task, ``7_[4-9]`` for the tasks of an array that wait."""
    array = record.get("array")
    if not array:
        return str(record["id"])
    if array.get("task") is not None:
        return f"{array['id']}_{array['task']}"
    tasks = array.get("tasks")
    limit = f"%{array['limit']}" if array.get("limit") else ""
    return f"{record['id']}_[{tasks}{limit}]" if tasks else str(record["id"])

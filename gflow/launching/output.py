"""Where a job's output goes: the log in the state folder, or files that the submitter named."""

from __future__ import annotations

import os
import re

from gflow.launching.order import Order

_FIELD = re.compile(r"%(.)")
_UNSAFE = re.compile(r"[/\x00-\x1f\x7f]")


def log_path(logs: str, job_id: int, array_id: int | None, task: int | None) -> str:
    """The job's log in the folder ``logs``; tasks have ``<array>_<task>.log``."""
    return f"{logs}/{job_id}.log" if array_id is None else f"{logs}/{array_id}_{task}.log"


def values(
    job_id: int, array_id: int | None, task: int | None, *, name: str, user: str
) -> dict[str, str]:
    """What the letters of a pattern stand for."""
    return {
        "j": str(job_id),
        "A": str(array_id if array_id is not None else job_id),
        "a": str(task if task is not None else 0),
        "x": _part(name),
        "u": _part(user),
        "%": "%",
    }


def expand(pattern: str, known: dict[str, str]) -> str:
    """Replace %j (job), %A (array, else job), %a (task), %x (name), %u (user), %% (percent sign).

    ``known`` comes from :func:`values`, which makes one part of a path of whatever a value holds;
    other letters stay as they are.
    """
    return _FIELD.sub(lambda match: known.get(match[1], match[0]), pattern)


def _part(text: str) -> str:
    text = _UNSAFE.sub("_", text)[:200]
    return text.replace(".", "_") if text.strip(".") == "" else text


def open_log(order: Order, logs: str) -> int | None:
    """The log in the state folder; None when the output goes elsewhere. Raises OSError."""
    if order.output_path is not None:
        return None
    path = log_path(logs, order.job_id, order.array_id, order.task)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o600)
    except FileNotFoundError:  # the folder was deleted
        os.mkdir(logs, 0o700)
        fd = os.open(path, flags, 0o600)
    if order.attempt > 1:
        os.write(fd, b"--- gflow: attempt %d ---\n" % order.attempt)
    return fd


def open_both(order: Order, log: int | None) -> tuple[int, int]:
    """Descriptors for standard output and error (often the same one), seen from the current folder.

    Raises OSError with the path that it is about.
    """
    if log is not None and order.error_path is None:
        return log, log
    known = values(order.job_id, order.array_id, order.task, name=order.name, user=order.user)
    out_path = expand(order.output_path, known) if order.output_path is not None else None
    error_path = expand(order.error_path, known) if order.error_path is not None else out_path
    if log is not None:
        out = log
    else:
        assert out_path is not None
        out = _open(out_path, order)
    if error_path == out_path:
        return out, out
    assert error_path is not None
    return out, _open(error_path, order)


def _open(path: str, order: Order) -> int:
    # Without O_NONBLOCK a FIFO that nobody reads would hold the job for ever; it is refused
    # instead.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    if order.open_mode == "truncate" and order.attempt == 1:
        flags |= os.O_TRUNC
    fd = os.open(path, flags, 0o666)
    os.set_blocking(fd, True)
    return fd

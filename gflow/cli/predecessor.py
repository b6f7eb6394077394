"""The older gflow seen from outside: its folder, its daemon, and what its jobs left behind.

Nothing here writes.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gflow.cli.command import Failure
from gflow.cli.rendering import quoted

Record = dict[str, Any]

_STATES = ("state.msgpack", "state.json")
_JOURNAL = "state.journal.jsonl"
_TMUX_S = 10


def usual_folder() -> Path:
    """Where its daemon keeps its state, for this user."""
    return _data_folder(os.environ)


def _data_folder(environ: Any) -> Path:
    home = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "/"), ".local/share")
    return Path(home) / "gflow"


def state_file(path: Path) -> Path:
    """The state file that a path names, itself or as its folder. Raises Failure."""
    if path.is_dir():
        for name in _STATES:
            if (path / name).exists():
                return path / name
        raise Failure(f"cannot import {quoted(str(path))}: there is no {' and no '.join(_STATES)}")
    if not path.exists():
        raise Failure(f"cannot import {quoted(str(path))}: there is no such file")
    return path


def newer_journal(state: Path) -> Path | None:
    """Its journal when the daemon wrote there because it could not write the state file."""
    journal = state.parent / _JOURNAL
    try:
        newer = journal.stat().st_mtime >= state.stat().st_mtime
        return journal if journal != state and newer and journal.stat().st_size else None
    except OSError:
        return None


def daemon_pid(folder: Path) -> int | None:
    """The daemon that uses this folder, or may; None when there is none."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        process = Path("/proc") / name
        try:
            words = process.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if not _is_daemon(words):
            continue
        try:
            entries = process.joinpath("environ").read_bytes().split(b"\0")
        except OSError:
            return int(name)  # somebody else's: it cannot be told which folder it uses
        environ = dict(os.fsdecode(one).partition("=")[::2] for one in entries)
        if _is_same(_data_folder(environ), folder):
            return int(name)
    return None


def _is_daemon(words: list[bytes]) -> bool:
    """Whether they are ``gflowd`` or ``gflow __multicall gflowd`` without a subcommand."""
    program = words[0].rpartition(b"/")[2]
    rest = [word for word in words[1:] if word and word != b"__multicall"]
    if program == b"gflow" and rest[:1] == [b"gflowd"]:
        rest = rest[1:]
    elif program != b"gflowd":
        return False
    subcommands = {b"start", b"up", b"stop", b"down", b"status", b"reload", b"restart", b"init"}
    return not subcommands.intersection(rest)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


# --- jobs that ran ------------------------------------------------------------------------------


def results(folder: Path, ids: Iterable[int]) -> dict[int, tuple[int, float]]:
    """(exit code, end in epoch seconds) of those jobs whose runner left a result."""
    found = {}
    for job_id in ids:
        told = _told(folder / "runners" / f"{job_id}.result.json")
        code, at = told.get("exit_code"), told.get("finished_at_unix_secs")
        if isinstance(code, int) and isinstance(at, int | float):
            found[job_id] = (code & 0xFF, float(at))
    return found


def alive(folder: Path, jobs: Iterable[Record]) -> Iterator[tuple[int, int]]:
    """(job id, pid) of those jobs whose command still runs, as a process or in tmux."""
    from gflow.process import identity, table

    panes = _panes()
    processes = table.read() if panes else None
    for job in jobs:
        told = _told(folder / "runners" / f"{job['id']}.json")
        pid, ticks = told.get("pid"), told.get("start_time")
        if isinstance(pid, int) and isinstance(ticks, int) and identity.is_alive(pid, ticks):
            yield job["id"], pid
            continue
        shell = panes.get(job.get("run_name") or "")
        below = processes.below(shell) if processes is not None and shell else []
        if any(not entry.ended for entry in below):
            yield job["id"], below[0].pid


def _told(path: Path) -> Record:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _panes() -> dict[str, int]:
    """The shell in each session of the caller's tmux server."""
    command = ["tmux", "list-panes", "-a", "-F", "#{session_name} #{pane_pid}"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_TMUX_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.rpartition(" ")[::2] for line in answer.stdout.splitlines())
    return {session: int(pid) for session, pid in pairs if pid.isdigit()}


def files(folder: str) -> set[str]:
    """Names of the plain files in a folder, read at once; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()

"""Jobs shown in tmux, which is a viewer of ours and nothing else.

A session runs ``gflowctl attach`` and is marked with the job's id; no key is ever typed into it. It
stays when the job has ended, with the exit code, until somebody closes it. Killing it never touches
the job. Sessions of the older gflow are known by their names.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from gflow.api import dialect, location
from gflow.api.client import TERMINAL, Client
from gflow.cli import outcome
from gflow.cli.command import Failure

_MARK = "@gflow_job"
_OLDER_NAME = re.compile(r"gjob-(\d+)(?:-|$)")


class Session(NamedTuple):
    """A session on the tmux server of whoever asks."""

    name: str
    job_id: int


def sessions() -> list[Session]:
    """Those that show a job; none where there is no tmux or no server of it."""
    lines = _tmux("list-sessions", "-F", f"#{{session_name}}\t#{{{_MARK}}}").splitlines()
    found = []
    for line in lines:
        name, _, mark = line.partition("\t")
        older = _OLDER_NAME.match(name)
        if mark.isdecimal():
            found.append(Session(name, int(mark)))
        elif older is not None:
            found.append(Session(name, int(older[1])))
    return found


def show(record: dict[str, Any], client: Client, *, read_only: bool) -> int:
    """Show a job's terminal in tmux: a window where we are in tmux, else a session; the exit code.

    From a session we come back when it is left: with the job's own code if that has ended.
    """
    import shutil
    import subprocess

    if shutil.which("tmux") is None:
        raise Failure("cannot show the job in tmux: there is no tmux here; gjob attach needs none")
    name = dialect.run_name(record)
    viewer = _viewer(record["id"], read_only)
    if os.environ.get("TMUX"):
        words = ["tmux", "new-window", "-n", name, viewer, ";", *_kept(record)]
        if subprocess.run(words, check=False).returncode:
            raise Failure("cannot show the job in tmux: it opened no window")
        return 0
    if all(session.name != name for session in sessions()):
        made = ["new-session", "-d", "-s", name, viewer, ";", *_kept(record)]
        mark = ["set-option", "-t", f"={name}:", _MARK, str(record["id"])]
        said = subprocess.run(
            ["tmux", *made, ";", *mark], capture_output=True, text=True, check=False
        )
        if said.returncode:
            raise Failure(f"cannot show the job in tmux: {said.stderr.strip() or 'it failed'}")
    print(f"Attaching to tmux session '{name}' for job {record['id']}...", flush=True)
    if subprocess.run(["tmux", "attach-session", "-t", f"={name}"], check=False).returncode:
        raise Failure(f"cannot show the job in tmux here; its session is there: {name}")
    record = client.job(record["id"])
    return outcome.exit_code(record, client) if record["state"] in TERMINAL else 0


def _viewer(job_id: int, read_only: bool) -> str:
    """The line for tmux, which has an environment of its own."""
    from gflow.cli import spawning

    python_path = spawning.environment()["PYTHONPATH"]
    words = ["env", f"PYTHONPATH={python_path}", sys.executable, "-P", "-m", "gflow.cli.main"]
    words += ["attach", *(["--read-only"] if read_only else []), str(job_id)]
    path, _ = location.find_socket()
    words += ["--runtime-dir", os.path.dirname(path)] if path else []
    return "exec " + shlex.join(words)


def _kept(record: dict[str, Any]) -> list[str]:
    """The window stays after the end, with the exit code; not after success with --auto-close."""
    when = "failed" if record["labels"].get("auto_close_tmux") == "True" else "on"
    return ["set-option", "-w", "remain-on-exit", when]


def close(chosen: Iterable[Session]) -> tuple[int, int, int]:
    """Close sessions, naming each; how many were closed, had closed themselves, and failed."""
    closed = gone = failed = 0
    for session in chosen:
        print(session.name)
        if _tmux("kill-session", "-t", f"={session.name}", ok=True) == "ok":
            closed += 1
        elif session in sessions():
            failed += 1
        else:
            gone += 1
    return closed, gone, failed


def _tmux(*words: str, ok: bool = False) -> str:
    """What tmux prints; nothing if it fails. With ``ok``, "ok" if it does not."""
    import subprocess

    try:
        answer = subprocess.run(["tmux", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    if answer.returncode:
        return ""
    return "ok" if ok else answer.stdout

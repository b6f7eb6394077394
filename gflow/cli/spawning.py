"""Starting a supervisor in the background, and knowing when it is ready."""

from __future__ import annotations

import os
import select
import sys
import time

from gflow.api.client import Client, Record
from gflow.api.wire import Unreachable
from gflow.cli.command import Failure
from gflow.cli.session import Session

#: Without a sign of life. A store of a million jobs takes seconds, and says so every second; an
#: orphan takes 15 s to end.
_READY_S = 120.0
#: What a supervisor says as long as it loads.
_LOADING = b"loading"
#: Variables with a path that is ours, in our folder.
_PATHS = ("GFLOW_STATE_DIR", "GFLOW_RUNTIME_DIR", "GFLOW_CONFIG", "XDG_RUNTIME_DIR")
#: When another one was quicker, how long to wait for that one.
_OTHER_S = 5.0


def may_start_by_itself() -> bool:
    """Whether ``submit`` and ``run`` may start a supervisor (``[client] autostart``, user mode).

    Not from inside a job: it would be part of the job's tree and end with it.
    """
    if "GFLOW_ATTEMPT_ID" in os.environ:
        return False
    from gflow import config

    settings = config.load()
    return bool(settings["client"]["autostart"]) and settings["access"]["mode"] == "user"


def ensure(session: Session) -> None:
    """Have a supervisor that answers, started now if it may. Raises Unreachable, Failure."""
    try:
        session.client.ping()
    except Unreachable:
        if not may_start_by_itself():
            raise
        start(session.runtime_dir, None)


def start(runtime_dir: str | None, state_dir: str | None, *flags: str) -> int:
    """Start a supervisor and return its pid once it is ready. Raises Failure.

    ``flags`` are further options of its. It gets a session of its own and no descriptor of ours but
    the pipe that it says "ready" on.
    """
    import subprocess

    command = [sys.executable, "-P", "-m", "gflow.supervisor.main", *flags]
    if runtime_dir is not None:
        command += ["--runtime-dir", os.path.abspath(runtime_dir)]
    if state_dir is not None:
        command += ["--state-dir", os.path.abspath(state_dir)]
    ready, its_end = os.pipe()
    try:
        process = subprocess.Popen(
            [*command, "--ready-fd", str(its_end)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(its_end,),
            start_new_session=True,
            cwd="/",
            env=environment(),
        )
        os.close(its_end)
        said = _read_line(ready)
        if said.startswith("ready "):
            process.returncode = 0  # it lives on: it is not ours to wait for
            return int(said.split()[1])
        other = _other(runtime_dir) if "is in use by" in said else None
        if other is not None:
            return int(other["pid"])
        raise Failure(
            said
            or f"the supervisor ended at once (exit code {process.wait()}): "
            "run gflow-supervisor in a terminal to see why"
        )
    finally:
        os.close(ready)


def environment() -> dict[str, str]:
    """Ours, for a process in another folder; with our own package first if in a source tree."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [os.path.abspath(path) for path in paths if path and path != package]
    own = {name: os.path.abspath(os.environ[name]) for name in _PATHS if os.environ.get(name)}
    return {**os.environ, **own, "PYTHONPATH": os.pathsep.join([package, *kept])}


def _read_line(fd: int) -> str:
    """The last line that the supervisor writes; "" when it ended without one."""
    data = b""
    while True:
        line, newline, rest = data.partition(b"\n")
        if newline and line == _LOADING:
            data = rest
        elif newline:
            return line.decode(errors="replace").strip()
        elif not select.select([fd], [], [], _READY_S)[0]:
            raise Failure(
                f"the supervisor gave no sign of life for {_READY_S:g} s: it may be loading still"
            )
        else:
            piece = os.read(fd, 4096)
            if not piece:
                return line.decode(errors="replace").strip()
            data += piece


def _other(runtime_dir: str | None) -> Record | None:
    """Another supervisor that won the race, if it answers soon."""
    end = time.monotonic() + _OTHER_S
    while time.monotonic() < end:
        try:
            with Client(runtime_dir, timeout_s=1.0) as client:
                return client.ping()
        except Unreachable:
            time.sleep(0.1)
    return None

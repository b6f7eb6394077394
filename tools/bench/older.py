"""The older gflow's daemon in a home of its own, started where its programs are installed.

``BENCH_GFLOW`` names the folder of its programs (``pip install --target … runqd==0.4.18``); nothing
is installed from here.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

#: Folder of gflowd, gbatch and the others.
PROGRAMS = "BENCH_GFLOW"
_PATIENCE_S = 60.0


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Api:
    """One connection to the older HTTP API, of whichever daemon."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer; raises OSError for one that is no success."""
        data = None if body is None else json.dumps(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text or b"null")

    def submit(self, jobs: Sequence[dict[str, Any]]) -> list[int]:
        """Ids of up to 1,000 jobs."""
        return [int(one["id"]) for one in self.ask("POST", "/jobs/batch", list(jobs))]

    def close(self) -> None:
        """Close it."""
        self._connection.close()


class Daemon:
    """One daemon with the process executor. ``work`` is a folder for its jobs."""

    def __init__(self, programs: Path, folder: Path, user: str = "ann") -> None:
        self.programs = programs
        self.home = folder / "reference"
        self.work = folder / "reference-work"
        self.data = self.home / ".local/share/gflow"
        self.port = free_port()
        for place in (self.home / "run", self.work):
            place.mkdir(parents=True)
        self.env = {
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "TMPDIR": str(folder),
            "USER": user,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "GFLOW_EXECUTOR__TYPE": "process",
            "GFLOW_DAEMON__HOST": "127.0.0.1",
            "GFLOW_DAEMON__PORT": str(self.port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Its pid, once it answers."""
        with open(self.home / "daemon.log", "ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "gflowd"],
                env=self.env,
                cwd=self.work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end_s = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert time.monotonic() < end_s, f"the older daemon does not answer on {self.port}"
            time.sleep(0.02)
        return self._process.pid

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return bool(self.ask("GET", "/health")["pid"])
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it; SIGTERM makes it save its state and end its jobs."""
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(_PATIENCE_S)
        self._process = None

    def close(self) -> None:
        """End it and what its jobs left running, those too that it has not noted yet."""
        children: list[psutil.Process] = []
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            children = psutil.Process(self._process.pid).children(recursive=True)
        self.stop(signal.SIGKILL)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        for path in (self.data / "runners").glob("*.json"):
            with contextlib.suppress(ValueError, KeyError, ProcessLookupError):
                os.killpg(json.loads(path.read_bytes())["pgid"], signal.SIGKILL)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to one request."""
        api = Api(self.port)
        try:
            return api.ask(method, path, body)
        finally:
            api.close()

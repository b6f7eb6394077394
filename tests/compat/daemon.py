"""The reference's daemon itself, for what is to be compared with it or taken over from it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.compat.reference import free_port
from tests.system.machine import eventually

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_DRIVER = Path(__file__).parent / "nvml.c"


class Daemon:
    """One daemon in a home of its own, with the process executor and, given a compiler, 4 cards."""

    def __init__(self, programs: Path, folder: Path, user: str = "ann") -> None:
        self._programs = programs
        self.home = folder / "reference"
        self.work = folder / "reference-work"
        self.data = self.home / ".local/share/gflow"
        self.port = free_port()
        for place in (self.home / "run", self.work):
            place.mkdir(parents=True)
        self.env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
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
        if shutil.which("gcc"):
            library = self.home / "libnvidia-ml.so.1"
            subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, _DRIVER], check=True)
            self.env["LD_LIBRARY_PATH"] = str(self.home)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Its pid, once it answers."""
        with open(self.home / "daemon.log", "ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "gflowd"],
                env=self.env,
                cwd=self.work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self._answers)
        return self._process.pid

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask("GET", "/health")["pid"])
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it; SIGTERM makes it save its state and end its jobs."""
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(60)
        self._process = None

    def close(self) -> None:
        """End it and what its jobs left running."""
        self.stop(signal.SIGKILL)
        for path in (self.data / "runners").glob("*.json"):
            with contextlib.suppress(ValueError, KeyError, ProcessLookupError):
                os.killpg(json.loads(path.read_bytes())["pgid"], signal.SIGKILL)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to a request."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        url = f"http://127.0.0.1:{self.port}{path}"
        with urlopen(Request(url, data=data, method=method, headers=headers), timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def run(self, *words: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """One of the reference's commands, without colours in what it printed."""
        answer = subprocess.run(
            [self._programs / words[0], *words[1:]],
            env=self.env,
            cwd=self.work,
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        answer.stdout = self.plain(answer.stdout)
        return answer

    @staticmethod
    def plain(text: str) -> str:
        """Without colours."""
        return _STYLE.sub("", text)

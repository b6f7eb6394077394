"""The reference's released clients, unmodified, against our supervisor."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.compat import program
from tests.system.machine import Machine, eventually


class Reference:
    """Runs ``gbatch``, ``gqueue`` and the others for one user name."""

    def __init__(self, programs: Path, machine: Machine, port: int, user: str) -> None:
        self.programs = programs
        self.machine = machine
        self.port = port
        home = machine.folder / f"home-{user}"
        (home / "gflow").mkdir(parents=True, exist_ok=True)
        (home / "gflow" / "gflow.toml").write_text(f'[daemon]\nhost = "localhost"\nport = {port}\n')
        self.work = machine.work
        self.env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "TMPDIR": str(machine.folder),
            "USER": user,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }

    def run(self, name: str, *words: str, code: int = 0, input: str | None = None) -> str:
        """What one command printed, without colours; its exit code is ``code``."""
        answer = program.finished([self.programs / name, *words], self.env, self.work, input)
        assert answer.returncode == code, (name, words, answer)
        return program.plain(answer.stdout if code == 0 else answer.stdout + answer.stderr)

    def complaint(self, name: str, *words: str) -> str:
        """What a command that exits 0 all the same said on standard error."""
        answer = program.finished([self.programs / name, *words], self.env, self.work)
        assert answer.returncode == 0, answer
        return answer.stderr

    def batch(self, *words: str, input: str | None = None) -> list[int]:
        """Ids that gbatch said it submitted."""
        said = self.run("gbatch", *words, input=input)
        return [int(one) for one in re.findall(r"^Submitted batch job (\d+) \(", said, re.M)]

    def output(self, job_id: int) -> str:
        """Output of a job that has ended."""
        assert self.machine.wait(job_id) == 0
        return self.run("gjob", "log", str(job_id))

    def get(self, path: str) -> Any:
        """A JSON answer of the API."""
        return self.ask("GET", path)[1]

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON (or text) and headers of one request."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        url = f"http://127.0.0.1:{self.port}{path}"
        request = Request(url, data=data, method=method, headers=given)
        try:
            answer = urlopen(request, timeout=30)
        except OSError as error:
            if not hasattr(error, "read"):
                raise
            answer = error
        with answer:
            text = answer.read().decode()
            try:
                value: Any = json.loads(text)
            except ValueError:
                value = text
            return int(answer.status), value, dict(answer.headers)

    def state(self, job_id: int) -> str:
        """The reference's word for a job's state."""
        return str(self.get(f"/jobs/{job_id}")["state"])

    def until(self, job_id: int, state: str) -> None:
        """Wait until a job is in a state."""
        eventually(lambda: self.state(job_id) == state)


def own_name() -> str:
    """The user that all jobs belong to, whatever they claim."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name

"""The real programs in private folders: start, use, kill, look."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

BIN = Path(sys.executable).parent
T = TypeVar("T")


def eventually(look: Callable[[], T], timeout_s: float = 30.0) -> T:
    """The first true answer of ``look``; fails when there is none in time."""
    end_s = time.monotonic() + timeout_s
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < end_s, f"never came true in {timeout_s} s: {look}"
        time.sleep(0.02)


class Machine:
    """One supervisor at a time on one state folder; everything it started ends with ``close``."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        #: Paths of Unix sockets are short: the runtime folder is not below pytest's.
        self.runtime = Path("/tmp") / f"gflow-test-{os.getpid()}-{id(self):x}"
        self.env = {
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "GFLOW_STATE_DIR": str(folder / "state"),
            "GFLOW_RUNTIME_DIR": str(self.runtime),
            "GFLOW_CLIENT__AUTOSTART": "false",
            # Tests may run beside each other, and declared cards are claimed machine-wide.
            "GFLOW_GPUS__CLAIM": "false",
            **settings,
        }
        self.supervisor: subprocess.Popen[str] | None = None
        self._pids: set[int] = set()

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self, *options: str, wrap: tuple[str, ...] = ()) -> int:
        """Run the supervisor in the foreground; its pid, once it says that it is ready."""
        with open(self.folder / "supervisor.err", "a") as errors:
            self.supervisor = subprocess.Popen(
                [*wrap, str(BIN / "gflow-supervisor"), *options],
                env=self.env,
                cwd=self.work,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self.supervisor.stdout is not None
        line = self.supervisor.stdout.readline()
        errors_text = (self.folder / "supervisor.err").read_text()
        assert "ready" in line, f"the supervisor said {line!r}, {errors_text}"
        self.note_pids()
        return self.supervisor.pid

    def note_pids(self) -> dict[str, int]:
        """Pids of the supervisor's children by name; remembered for ``close``."""
        pids = {
            name: facts["pid"]
            for name, facts in self.status()["processes"].items()
            if facts.get("pid")
        }
        self._pids |= set(pids.values())
        return pids

    @property
    def noted_pids(self) -> frozenset[int]:
        """Pids of all children that were ever noted."""
        return frozenset(self._pids)

    def refuse_to_start(self, *options: str, timeout_s: float = 30.0) -> tuple[int, str]:
        """Exit code and words of a supervisor that must not come up."""
        answer = subprocess.run(
            [str(BIN / "gflow-supervisor"), *options],
            env=self.env,
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return answer.returncode, answer.stdout + answer.stderr

    def ctl(
        self, *words: str, input: str | None = None, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run gflowctl; never a traceback."""
        answer = subprocess.run(
            [str(BIN / "gflowctl"), *words],
            env=self.env,
            cwd=self.work,
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert "Traceback" not in answer.stderr + answer.stdout, answer.stderr
        return answer

    def json(self, *words: str, code: int | None = 0) -> Any:
        """What gflowctl prints with --json."""
        answer = self.ctl(words[0], "--json", *words[1:])
        assert code is None or answer.returncode == code, (words, answer)
        return json.loads(answer.stdout)

    def submit(self, *words: str) -> int:
        """Id of a submitted job or array."""
        answer = self.ctl("submit", "--parsable", *words)
        assert answer.returncode == 0, answer.stderr
        return int(answer.stdout.split(";")[0])

    def job(self, job_id: int | str) -> dict[str, Any]:
        """The record of one job."""
        records: list[dict[str, Any]] = self.json("show", str(job_id))
        assert len(records) == 1, records
        return records[0]

    def jobs(self) -> dict[int, dict[str, Any]]:
        """Records of everything in memory, finished ones included, by id."""
        return {record["id"]: record for record in self.json("queue", "--all")}

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.json("status")
        return answer

    def wait(self, *ids: int, timeout_s: float = 60.0) -> int:
        """Exit code of ``gflowctl wait``."""
        return self.ctl("wait", *map(str, ids), timeout_s=timeout_s).returncode

    def in_state(self, job_id: int | str, state: str) -> bool:
        return bool(self.job(job_id)["state"] == state)

    @property
    def supervisor_pid(self) -> int:
        assert self.supervisor is not None
        return self.supervisor.pid

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        assert self.supervisor is not None
        self.supervisor.send_signal(number)

    def kill(self) -> None:
        """kill -9 of the supervisor; its persister and launcher find out by themselves."""
        assert self.supervisor is not None
        self.note_pids()
        self.kill_at_once()

    def kill_at_once(self) -> None:
        """The same without a look at the children first."""
        assert self.supervisor is not None
        self.supervisor.kill()
        self.supervisor.wait()

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM and the supervisor's exit code."""
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGTERM)
        return self.supervisor.wait(timeout_s)

    def close(self) -> None:
        """End everything: jobs first, then the programs."""
        if self.supervisor is not None and self.supervisor.poll() is None:
            with contextlib.suppress(Exception):
                self.note_pids()
            self.supervisor.kill()
            self.supervisor.wait()
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in marked_processes(str(self.state)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.supervisor is not None and self.supervisor.stdout is not None:
            self.supervisor.stdout.close()
        subprocess.run(["rm", "-rf", str(self.runtime)], check=False)


def processes() -> Iterator[int]:
    """All pids there are."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def marked_processes(state_dir: str) -> list[int]:
    """Processes of jobs whose state folder this is, by their environment; shims come along."""
    found = []
    needle = f"GFLOW_STATE_DIR={state_dir}".encode()
    for pid in processes():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if needle in environ.split(b"\0"):
            found.append(pid)
    return found

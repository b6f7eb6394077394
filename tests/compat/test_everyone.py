"""System mode over TCP: everybody here may speak, and may change what is theirs alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compat.test_peer import AS_OTHER
from tests.system.machine import Machine
from tools.bench.older import free_port

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="system mode needs root")

_OTHER = 65534
_START = {"secs_since_epoch": 4_000_000_000, "nanos_since_epoch": 0}
_QUOTA = {"scope": "user", "name": "root", "limits": {"max_running_jobs": 0}}
_RESERVATION = {"user": "nobody", "gpu_count": 1, "start_time": _START, "duration_secs": 3600}


class Everyone:
    """A supervisor in system mode, and its API as another user sees it."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.machine = machine
        self._port = port

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON that the other user gets."""
        text = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
        if body is not None:
            head.append("Content-Type: application/json")
        head += [f"Content-Length: {len(text)}", "", ""]
        answer = subprocess.run(
            [sys.executable, "-c", AS_OTHER, str(_OTHER), str(self._port)],
            input="\r\n".join(head).encode() + text,
            capture_output=True,
            timeout=30,
            check=True,
        ).stdout
        first, _, rest = answer.partition(b"\r\n\r\n")
        try:
            value = json.loads(rest or b"null")
        except ValueError:
            value = rest.decode()
        return int(first.split()[1]), value


@pytest.fixture(scope="module")
def everyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everyone]:
    """Its first job is root's, waits, and is a secret; its second has ended."""
    port = free_port()
    machine = Machine(
        tmp_path_factory.mktemp("everyone"),
        GFLOW_GPUS__COUNT="2",
        GFLOW_HTTP__GFLOW_API="true",
        GFLOW_HTTP__LISTEN=f"127.0.0.1:{port}",
    )
    try:
        machine.start("--system")
        machine.submit("--hold", "--group", "g", "true")
        machine.wait(machine.submit("echo", "secret"))
        yield Everyone(machine, port)
    finally:
        machine.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/jobs/1/cancel", None),
        ("POST", "/jobs/1/hold", None),
        ("POST", "/jobs/1/release", None),
        ("POST", "/jobs/1/release?at=4000000000", None),
        ("POST", "/jobs/1/finish", None),
        ("POST", "/jobs/1/fail", None),
        ("PATCH", "/jobs/1", {"command": "touch mine"}),
        ("GET", "/jobs/2/log", None),
        ("GET", "/jobs/2/log/content", None),
        ("PUT", "/quotas", _QUOTA),
        ("POST", "/reservations", _RESERVATION),
        ("POST", "/gpus", {"allowed_indices": [0]}),
    ],
)
def test_what_is_not_theirs(everyone: Everyone, method: str, path: str, body: Any) -> None:
    """Refused, and nothing has changed."""
    before = everyone.machine.job(1), everyone.machine.json("quota")
    status, answer = everyone.ask(method, path, body)
    assert status in (403, 409), answer
    assert "secret" not in json.dumps(answer)
    assert (everyone.machine.job(1), everyone.machine.json("quota")) == before
    assert everyone.machine.json("reservations", "list") == []


def test_jobs_run_as_who_sent_them(everyone: Everyone) -> None:
    """Whatever name they claim."""
    status, made = everyone.ask(
        "POST", "/jobs", {"command": "id -u", "submitted_by": "root", "run_dir": "/"}
    )
    assert status == 201, made
    assert everyone.machine.wait(made["id"]) == 0
    assert everyone.machine.job(made["id"])["uid"] == _OTHER
    assert everyone.ask("GET", f"/jobs/{made['id']}/log/content")[1]["content"] == f"{_OTHER}\n"
    assert everyone.ask("GET", f"/jobs/{made['id']}")[1]["submitted_by"] != "root"


def test_what_is_imported_waits_for_an_admin(everyone: Everyone) -> None:
    """Nobody ever checked who submitted it: it could claim to be root's."""
    state = everyone.machine.folder / "state.json"
    job = {
        "id": 900,
        "command": "id -u",
        "run_dir": "/",
        "submitted_by": "root",
        "submitted_at": {"secs_since_epoch": 1_700_000_000, "nanos_since_epoch": 0},
        "state": "Queued",
    }
    state.write_text(json.dumps({"version": 3, "jobs": [job], "next_job_id": 901}))
    assert everyone.machine.json("import", str(state))["imported"] == 1
    record = everyone.machine.job(900)
    assert (record["state"], record["hold"]) == ("PENDING", "admin")
    status, _ = everyone.ask("POST", "/jobs/900/release")
    assert status == 403

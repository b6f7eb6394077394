"""System mode: everyone may speak, jobs run as their submitter, only owners change them."""

from __future__ import annotations

import json
import os
import pwd
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gflow import Client
from gflow.api.wire import Refusal
from gflow.launching import dialogue, visit
from tests.system.machine import Machine, eventually

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="system mode needs root")

OTHER, THIRD = 65534, 65533


@pytest.fixture
def everyone(new_machine: Callable[..., Machine]) -> Machine:
    """A supervisor in system mode, its way in open to all."""
    machine = new_machine()
    machine.start("--system")
    return machine


def as_user(machine: Machine, uid: int, ask: Callable[[Client], Any]) -> Any:
    """What a forked process of another user gets; a refusal comes back as its sentence.

    Forked, because other users need not be able to read this installation.
    """
    with Client(runtime_dir=str(machine.runtime)) as client:
        client.submit(["true"], cwd="/", env={})  # brings in what would be imported late
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.chdir("/")
            with Client(runtime_dir=str(machine.runtime)) as client:
                answer = ask(client)
        except Refusal as error:
            answer = f"refused: {error}"
        except BaseException as error:
            answer = f"failed: {error!r}"
        os.write(tell, json.dumps(answer).encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def submit(machine: Machine, uid: int, *command: str) -> int:
    """Id of a job that another user submitted."""
    job_id = as_user(machine, uid, lambda client: client.submit(list(command), cwd="/", env={}))
    assert isinstance(job_id, int), job_id
    return job_id


def test_job_runs_as_its_submitter(everyone: Machine) -> None:
    """Its uid is the submitter's, and it cannot become root again."""
    job_id = submit(everyone, OTHER, "sh", "-c", "id -u; id -g; grep CapEff /proc/self/status")
    assert everyone.wait(job_id) == 0
    lines = everyone.ctl("log", str(job_id)).stdout.split()
    assert lines == [str(OTHER), str(OTHER), "CapEff:", "0000000000000000"]
    assert everyone.job(job_id)["uid"] == OTHER


def test_on_end_runs_as_the_submitter(everyone: Machine) -> None:
    """The shim is root; the line for the job's end is not, nor can it become root again."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        told = Path(folder, "ended")
        line = f"(id -u; grep CapEff /proc/self/status) > {folder}/new; mv {folder}/new {told}"

        def ask(client: Client) -> int:
            return client.submit(["true"], cwd="/", env={}, on_end=line)

        job_id = as_user(everyone, OTHER, ask)
        assert everyone.wait(job_id) == 0
        eventually(told.exists)
        assert told.read_text().split() == [str(OTHER), "CapEff:", "0000000000000000"]


def test_script_of_another_user_runs(everyone: Machine) -> None:
    """A captured script is where its owner can reach it, and nobody else's."""
    script = "#!/bin/sh\nid -u; stat -c %a:%u $0\n"
    job_id = as_user(everyone, OTHER, lambda client: client.submit(script=script, cwd="/", env={}))
    assert everyone.wait(job_id) == 0, everyone.job(job_id)
    assert everyone.ctl("log", str(job_id)).stdout.split()[0] == str(OTHER)


def test_a_user_reads_the_logs_of_his_own_jobs(everyone: Machine) -> None:
    """The state folder is closed to him, but not what his job or task has written there."""
    job_id = submit(everyone, OTHER, "echo", "mine")
    array = as_user(
        everyone, OTHER, lambda client: client.submit(["echo", "task"], array="3", cwd="/", env={})
    )
    assert everyone.wait(job_id) == everyone.wait(array) == 0
    read = as_user(everyone, OTHER, lambda client: client.log(job_id).decode())
    assert (read, as_user(everyone, OTHER, lambda client: client.log(f"{array}_3").decode())) == (
        "mine\n",
        "task\n",
    )


def test_a_path_of_the_submitters_is_read_with_his_rights(everyone: Machine) -> None:
    """Naming somebody else's log as one's own output opens it to nobody."""
    secret = submit(everyone, THIRD, "echo", "secret")
    assert everyone.wait(secret) == 0
    path = str(everyone.state / "logs" / f"{secret}.log")
    job_id = as_user(
        everyone, OTHER, lambda client: client.submit(["true"], output_path=path, cwd="/", env={})
    )
    everyone.wait(job_id)
    assert "refused" in as_user(everyone, OTHER, lambda client: client.log(job_id).decode())


def test_a_user_is_warned_and_cut(everyone: Machine) -> None:
    """His job can read why a signal came, and its output is bounded."""
    line = (
        "trap 'cat $GFLOW_SIGNAL_REASON_FILE; head -c 5000 /dev/zero; exit' USR1; "
        "while :; do sleep 0.05; done"
    )
    job_id = as_user(
        everyone,
        OTHER,
        lambda client: client.submit(
            ["bash", "-c", line],
            time_limit_s=60,
            warning="B:USR1@59",
            max_output_bytes=100,
            cwd="/",
            env={},
        ),
    )
    assert everyone.wait(job_id) == 0, everyone.job(job_id)
    log = everyone.ctl("log", str(job_id)).stdout
    assert log.startswith("time limit\n59\n\0") and len(log) < 250


def test_only_owner_and_root_change_a_job(everyone: Machine) -> None:
    """Another user may see a job, but neither cancel it nor read its output; root may."""
    job_id = submit(everyone, OTHER, "sleep", "100")
    seen = as_user(everyone, THIRD, lambda client: [job["id"] for job in client.jobs()])
    assert job_id in seen
    refused = as_user(everyone, THIRD, lambda client: client.cancel(job_id))
    assert "refused" in str(refused)
    assert "refused" in str(as_user(everyone, THIRD, lambda client: str(client.log(job_id))))
    assert everyone.job(job_id)["state"] == "RUNNING"
    assert everyone.ctl("cancel", str(job_id)).returncode == 0


def on_terminal(machine: Machine, uid: int, job_id: int) -> Any:
    """What a user sees who types a word at a job's terminal."""

    def look(client: Client) -> str:
        path = client.job(job_id)["terminal_path"]
        try:
            connection = visit.connect(path)
        except PermissionError:
            return "permission denied"
        assert connection is not None
        with connection:
            connection.settimeout(30)
            connection.sendall(dialogue.pack_facts(dialogue.HELLO))
            connection.sendall(dialogue.pack(dialogue.INPUT, b"word\r"))
            seen, splitter = b"", dialogue.Splitter()
            while data := connection.recv(1 << 16):
                for kind, payload in splitter.feed(data):
                    seen += payload if kind in (dialogue.OUTPUT, dialogue.REFUSED) else b""
        return seen.decode()

    return as_user(machine, uid, look)


def test_a_terminal_is_its_submitters(everyone: Machine) -> None:
    """He owns and reaches it, wherever his output goes; others do not get in."""
    line = 'stat -c %u $(tty); id -u; read x; echo "<$x>"'
    folder = everyone.folder / "theirs"
    folder.mkdir()
    os.chown(folder, OTHER, OTHER)
    spec = {"cwd": str(folder), "env": {"PATH": os.environ["PATH"]}, "pty": True}
    for above in (folder, *folder.parents[:-2]):
        os.chmod(above, 0o711)
    job_id: int = as_user(
        everyone,
        OTHER,
        lambda client: client.submit(["bash", "-c", line], output_path="out", **spec),
    )
    eventually(lambda: everyone.job(job_id)["pid"])
    assert on_terminal(everyone, THIRD, job_id) == "permission denied"
    seen = on_terminal(everyone, OTHER, job_id)
    assert f"{OTHER}\r\n{OTHER}\r\n" in seen and "<word>" in seen
    assert everyone.wait(job_id) == 0
    assert (folder / "out").stat().st_uid == OTHER
    assert (folder / "out").read_text().endswith("<word>\n")


def test_an_admin_may_look(new_machine: Callable[..., Machine]) -> None:
    """Whoever is configured as one sees the terminal, and types nothing."""
    admin = pwd.getpwuid(OTHER).pw_name
    machine = new_machine(GFLOW_ACCESS__ADMINS=admin)
    machine.start("--system")
    job_id = machine.submit("--pty", "--", "bash", "-c", 'read -t 2 x; echo "<$x>"; exit 0')
    eventually(lambda: machine.job(job_id)["pid"])
    assert "<>" in on_terminal(machine, OTHER, job_id)

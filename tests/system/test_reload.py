"""The configuration is read again on SIGHUP; systemd is told how we are."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

from tests.system.machine import Machine, eventually


def configured(new_machine: Callable[..., Machine], text: str) -> tuple[Machine, Path]:
    """A machine with a configuration file of its own."""
    machine = new_machine()
    path = machine.folder / "gflow.toml"
    path.write_text(text)
    machine.env["GFLOW_CONFIG"] = str(path)
    del machine.env["GFLOW_RESOURCES__CPUS"]
    machine.start()
    return machine, path


def test_more_cpus_start_more_jobs(new_machine: Callable[..., Machine]) -> None:
    """What waits for resources starts as soon as a reload brings them."""
    machine, path = configured(new_machine, "[resources]\ncpus = 1\n")
    for _ in range(3):
        machine.submit("while [ ! -e go ]; do sleep 0.05; done")
    assert machine.status()["jobs"] == {"RUNNING": 1, "PENDING": 2}
    path.write_text("[resources]\ncpus = 3\n")
    machine.signal(signal.SIGHUP)
    eventually(lambda: machine.status()["jobs"] == {"RUNNING": 3})
    (machine.work / "go").touch()


def test_wrong_configuration_changes_nothing(new_machine: Callable[..., Machine]) -> None:
    """A reload with a mistake is told in the log and leaves everything as it was."""
    machine, path = configured(new_machine, "[resources]\ncpus = 2\n")
    path.write_text("[resources]\ncpu = 3\n")
    machine.signal(signal.SIGHUP)
    log = machine.state / "supervisor.log"
    eventually(lambda: "did you mean cpus" in log.read_text())
    assert machine.status()["resources"]["total"]["cpus"] == 2
    assert machine.wait(machine.submit("--", "true")) == 0


def test_systemd_is_told(new_machine: Callable[..., Machine]) -> None:
    """READY after recovery, RELOADING and READY on SIGHUP, STOPPING at the end."""
    machine = new_machine()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        path = f"{machine.runtime}.notify"
        ears.bind(path)
        ears.settimeout(30)
        machine.env["NOTIFY_SOCKET"] = path
        machine.start()
        assert ears.recv(4096) == b"READY=1"
        machine.signal(signal.SIGHUP)
        assert ears.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert ears.recv(4096) == b"READY=1"
        assert machine.stop() == 0
        assert ears.recv(4096) == b"STOPPING=1"
    Path(path).unlink()

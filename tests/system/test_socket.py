"""The way in heals itself and lets only the right ones through."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading

import pytest

from tests.system.machine import BIN, Machine, eventually


def test_deleted_socket_comes_back(machine: Machine) -> None:
    """Within 15 s of its deletion the socket is there again."""
    (machine.runtime / "gflow.sock").unlink()
    eventually(lambda: machine.ctl("ping").returncode == 0, 15)


def test_deleted_runtime_folder_comes_back(machine: Machine) -> None:
    """Logging out may delete the whole folder; jobs and supervisor live on."""
    shutil.rmtree(machine.runtime)
    eventually(lambda: machine.ctl("ping").returncode == 0, 15)


def test_replaced_socket_is_replaced(machine: Machine) -> None:
    """A file in the socket's place is no way in, and does not stay."""
    path = machine.runtime / "gflow.sock"
    path.unlink()
    path.write_text("")
    eventually(lambda: machine.ctl("ping").returncode == 0, 15)


def test_a_folder_in_the_place_of_the_socket_is_moved_aside(machine: Machine) -> None:
    """Even one that cannot be removed because something is in it."""
    path = machine.runtime / "gflow.sock"
    path.unlink()
    (path / "something").mkdir(parents=True)
    eventually(lambda: machine.ctl("ping").returncode == 0, 15)
    assert (machine.runtime / "gflow.sock.displaced" / "something").is_dir()


def test_many_clients_at_once(machine: Machine) -> None:
    """200 listings at the same time are all answered."""
    machine.submit("--hold", "--", "true")
    codes: list[int] = []

    def look() -> None:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(30)
            one.connect(str(machine.runtime / "gflow.sock"))
            one.sendall(b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            codes.append(int(one.recv(4096).split()[1]))

    threads = [threading.Thread(target=look) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 200


def test_no_network_port_is_open(machine: Machine) -> None:
    """By default nothing listens on TCP or UDP."""
    inodes = set()
    for pid in [*machine.note_pids().values(), machine.supervisor.pid]:  # type: ignore[union-attr]
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with open(f"/proc/net/{table}") as file:
            assert not inodes & {line.split()[9] for line in file.readlines()[1:]}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_other_users_are_kept_out(machine: Machine) -> None:
    """Another user reaches neither socket nor state nor logs, whatever the umask was."""
    machine.wait(machine.submit("echo secret"))
    os.chmod(machine.folder.parent, 0o755)
    for path in (
        machine.runtime / "gflow.sock",
        machine.state / "state.db",
        machine.state / "logs",
        machine.state / "runs",
    ):
        answer = subprocess.run(
            ["ls", "-l", str(path)], user=12345, group=12345, capture_output=True, check=False
        )
        assert answer.returncode != 0


def test_closed_output_is_no_error(machine: Machine) -> None:
    """``gflowctl queue | head -1`` prints one line and no complaint."""
    for _ in range(3):
        machine.submit("--hold", "--", "true")
    line = f"{BIN / 'gflowctl'} queue | head -1; echo ${{PIPESTATUS[0]}}"
    answer = subprocess.run(
        ["bash", "-c", line], env=machine.env, capture_output=True, text=True, check=False
    )
    assert answer.stdout.splitlines()[-1] == "0"
    assert answer.stderr == ""

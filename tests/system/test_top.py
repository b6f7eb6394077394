"""The live view on a real terminal of 80 columns and 24 lines, kept by tmux."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import BIN, Machine, eventually

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")


class Terminal:
    """A program on a terminal that one can look at and type on."""

    def __init__(self, socket: Path, command: str, env: dict[str, str]) -> None:
        self._socket = str(socket)
        self._env = {**env, "TERM": "xterm-256color"}
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", command)

    def _tmux(self, *words: str) -> str:
        answer = subprocess.run(
            ["tmux", "-S", self._socket, *words],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return answer.stdout

    def lines(self) -> list[str]:
        """What stands on the screen now."""
        return self._tmux("capture-pane", "-p").splitlines()

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.lines())

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def alive(self) -> bool:
        return bool(self._tmux("list-sessions"))

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture
def terminal(machine: Machine) -> Iterator[Terminal]:
    made = Terminal(machine.runtime / "tmux", f"exec {BIN}/gflowctl top", machine.env)
    yield made
    made.close()


def test_top(machine: Machine, terminal: Terminal) -> None:
    """Jobs, bars, log, explanation, keys: all of it within 80 by 24."""
    os.mkfifo(machine.work / "go")
    running = machine.submit("--name", "train", "echo epoch 1; read -r _ < go")
    waiting = machine.submit("--name", "next", "--cpus", "4", "--", "true")
    eventually(lambda: terminal.shows("train") and terminal.shows("epoch 1"))
    lines = terminal.lines()
    assert len(lines) <= 24 and all(len(line) <= 80 for line in lines)
    assert terminal.shows("1 running, 1 pending") or terminal.shows("1 pending, 1 running")
    assert terminal.shows("1/4") and terminal.shows("Resources")
    terminal.press("Down")
    terminal.press("e")
    eventually(lambda: terminal.shows("4 cpus wanted, 3 free"))
    terminal.press("h")
    eventually(lambda: machine.job(waiting)["hold"] == "user")
    terminal.press("Up")
    terminal.press("c")
    eventually(lambda: terminal.shows(f"cancel job {running}? y/n"))
    terminal.press("y")
    eventually(lambda: machine.in_state(running, "CANCELLED"))
    terminal.press("q")
    eventually(lambda: not terminal.alive())

"""``gflowd`` of ours: a first configuration, a service of systemd, start and stop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow import config


class Home:
    """Somebody's home, with a systemctl that only writes down what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / ".config" / "gflow" / "gflow.toml"
        self.unit = folder / ".config" / "systemd" / "user" / "gflowd.service"
        self._asked = folder / "asked"
        tools = folder / "bin"
        tools.mkdir()
        (tools / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {self._asked}\n')
        (tools / "systemctl").chmod(0o755)
        self.env = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(folder),
            "GFLOW_STATE_DIR": str(folder / "state"),
            "GFLOW_RUNTIME_DIR": f"/tmp/gflow-test-d{os.getpid()}",
        }

    def with_systemd(self) -> None:
        """From now on there seems to be a user's manager."""
        (self.folder / "run" / "systemd").mkdir(parents=True)
        (self.folder / "run" / "systemd" / "private").touch()
        self.env["XDG_RUNTIME_DIR"] = str(self.folder / "run")

    def asked(self) -> list[str]:
        return self._asked.read_text().splitlines() if self._asked.exists() else []

    def gflowd(self, *words: str, code: int = 0) -> str:
        """What it printed, on both streams."""
        answer = subprocess.run(
            [sys.executable, "-P", "-m", "gflow.cli.classic.main", "gflowd", *words],
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == code, answer
        assert "Traceback" not in answer.stdout
        return answer.stdout


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home; no supervisor of it is left."""
    made = Home(tmp_path)
    yield made
    made.env.pop("XDG_RUNTIME_DIR", None)
    made.gflowd("stop")


def test_init_writes_what_the_supervisor_reads(home: Home) -> None:
    """The options are settings of ours afterwards."""
    said = home.gflowd("init", "--port", "59111", "--gpus", "0,2")
    assert f"Configuration saved to: {home.file}" in said and "GPUs: 0,2" in said
    settings = config.load({}, texts={str(home.file): home.file.read_text()})
    assert settings["http"]["listen"] == "localhost:59111"
    assert settings["gpus"]["allowed"] == ["0", "2"]


def test_init_replaces_nothing_unasked(home: Home) -> None:
    """A file that is there stays, unless --force is said."""
    home.gflowd("init")
    before = home.file.read_text()
    assert "use --force" in home.gflowd("init", "--port", "1", code=1)
    assert home.file.read_text() == before
    home.gflowd("init", "--port", "59112", "--force")
    assert "59112" in home.file.read_text()


def test_init_says_what_will_be_ignored(home: Home) -> None:
    """An address that is not loopback is served to nobody."""
    assert "daemon.host is ignored" in home.gflowd("init", "--host", "0.0.0.0")


def test_without_systemd_there_is_no_service(home: Home) -> None:
    """The refusal says what works instead; no unit is left."""
    assert "not available here" in home.gflowd("service", "install", code=1)
    assert not home.unit.exists()


def test_a_service_is_installed_used_and_taken_away(home: Home) -> None:
    """The unit starts the supervisor; from then on start and stop are systemd's."""
    home.with_systemd()
    home.gflowd("service", "install", "--gpus", "0")
    text = home.unit.read_text()
    assert '"gflow.supervisor.main" "--gflow-api"' in text
    assert 'Environment="GFLOW_DAEMON__GPUS=0"' in text
    assert "KillMode=process" in text
    assert "systemd user service" in home.gflowd("start")
    assert home.gflowd("stop") == "gflowd stopped.\n"
    home.gflowd("service", "uninstall")
    assert not home.unit.exists()
    assert home.asked() == [
        "--user daemon-reload",
        "--user enable --now gflowd.service",
        "--user start gflowd.service",
        "--user stop gflowd.service",
        "--user disable --now gflowd.service",
        "--user daemon-reload",
    ]


def test_start_and_stop(home: Home) -> None:
    """Twice is no error either way, and status tells the truth."""
    home.gflowd("init", "--port", "59113")
    assert "Status: Not running" in home.gflowd("status")
    assert "gflowd started (direct mode, PID " in home.gflowd("up")
    assert home.gflowd("start") == "gflowd is already running.\n"
    assert "Status: Running" in home.gflowd("status")
    assert "gflowd started" in home.gflowd("restart")
    assert home.gflowd("down") == "gflowd stopped.\n"
    assert home.gflowd("stop") == "gflowd was not running.\n"

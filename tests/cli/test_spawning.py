"""Starting and stopping the real supervisor through the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.cli import spawning
from tests.cli.conftest import Result

ROOT = Path(__file__).resolve().parents[2]


class Place:
    """Private folders, and gflowctl as a process of its own in them."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "GFLOW_STATE_DIR": str(folder / "state"),
            "GFLOW_RUNTIME_DIR": str(runtime),
        }

    def started(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gflow.cli.main", *words],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str) -> Result:
        process = self.started(*words)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        return Result(process.returncode, out, err)


@pytest.fixture
def gflowctl(tmp_path: Path) -> Iterator[Place]:
    """A place where no supervisor runs before and after."""
    with tempfile.TemporaryDirectory(prefix="gflow-") as runtime:
        place = Place(tmp_path, Path(runtime) / "r")
        yield place
        place("stop")


def test_start_returns_when_it_is_ready(gflowctl: Place) -> None:
    """The next command finds it; a second start starts nothing; stop ends it."""
    pid = json.loads(gflowctl("start", "--json").out)["pid"]
    assert json.loads(gflowctl("ping", "--json").out)["pid"] == pid
    assert json.loads(gflowctl("start", "--json").out) == {"pid": pid, "started": False}
    assert gflowctl("stop").code == 0
    assert gflowctl("ping").code == 69


def test_the_supervisor_holds_nothing_of_ours(gflowctl: Place) -> None:
    """It has its own session, and no pipe that a waiting shell would wait for."""
    pid = json.loads(gflowctl("start", "--json").out)["pid"]
    assert os.getsid(pid) == pid
    for fd in (0, 1, 2):
        assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"


def test_relative_folders_are_below_the_callers(gflowctl: Place) -> None:
    """The supervisor, which lives in another folder, means the same ones."""
    gflowctl.environ |= {"GFLOW_STATE_DIR": "s", "GFLOW_RUNTIME_DIR": "r"}
    assert gflowctl("run", "--", "echo", "hi") == Result(0, "hi\n", "")
    assert (gflowctl.folder / "s" / "state.db").is_file()


def test_submit_starts_one_by_itself(gflowctl: Place) -> None:
    """In user mode nobody has to start anything; several at once start one."""
    waiting = [gflowctl.started("run", "--", "echo", "hi") for _ in range(3)]
    assert [process.communicate(timeout=60) for process in waiting] == [("hi\n", "")] * 3


def test_autostart_can_be_turned_off(gflowctl: Place) -> None:
    """[client] autostart = false: exit 69."""
    gflowctl.environ["GFLOW_CLIENT__AUTOSTART"] = "false"
    assert gflowctl("submit", "true").code == 69


def test_why_it_does_not_start(gflowctl: Place) -> None:
    """The supervisor's own sentence, exit 1."""
    config = gflowctl.folder / "bad.toml"
    config.write_text("[resuorces]\n")
    gflowctl.environ["GFLOW_CONFIG"] = str(config)
    result = gflowctl("start")
    assert result.code == 1 and "did you mean resources" in result.err
    assert len(result.err.splitlines()) == 1
    (gflowctl.folder / "state").write_text("in the way")
    del gflowctl.environ["GFLOW_CONFIG"]
    result = gflowctl("start")
    assert result.code == 1 and "no folder" in result.err


def test_signs_of_life_are_no_answer() -> None:
    """As long as the supervisor loads, and says so, its answer is waited for."""
    answer, its_end = os.pipe()
    os.write(its_end, b"loading\nloading\nready 7\n")
    assert spawning._read_line(answer) == "ready 7"
    os.write(its_end, b"loading\n")
    os.close(its_end)
    assert spawning._read_line(answer) == ""
    os.close(answer)

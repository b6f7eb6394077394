"""System mode: the shim stays root, nothing of the command does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launching.driver import Driver, until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root")

USER = {"user": "daemon", "uid": 1, "gid": 1}

PROBE = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
try:
    os.setuid(0)
    again = True
except OSError:
    again = False
print(json.dumps({
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(), "again": again,
    "capabilities": [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")],
    "home": os.environ.get("HOME"), "user": os.environ.get("USER"),
}))
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may use."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def system(tmp_path: Path, shared: Path) -> Iterator[Driver]:
    """A launcher of system mode."""
    driver = Driver(tmp_path, system=True, spool_dir=str(shared / "spool"))
    yield driver
    driver.close()


def probe(launcher: Driver, **fields: object) -> dict[str, object]:
    end = launcher.run("/usr/bin/python3", "-I", "-c", PROBE, **fields)
    assert end["exit_code"] == 0, launcher.log()
    answer: dict[str, object] = json.loads(launcher.log())
    return answer


def test_a_command_is_its_submitter(system: Driver) -> None:
    """In every kind of id, with the submitter's groups alone, and for good."""
    seen = probe(system, **USER)
    assert seen["uids"] == [1, 1, 1] and seen["gids"] == [1, 1, 1]
    assert seen["groups"] == [1] and seen["again"] is False


def test_a_command_has_no_capabilities(system: Driver) -> None:
    """None of root's powers is left."""
    assert probe(system, **USER)["capabilities"] == [0, 0, 0, 0]


def test_the_default_environment_is_the_submitters(system: Driver) -> None:
    """Not that of root."""
    system.start("/usr/bin/env", **USER, env=False)
    assert system.wait_for("exited")["exit_code"] == 0
    lines = system.log().splitlines()
    assert "USER=daemon" in lines and "HOME=/usr/sbin" in lines and "HOME=/root" not in lines


def test_the_log_belongs_to_the_submitter(system: Driver) -> None:
    """And to nobody else."""
    system.run("/bin/true", **USER)
    status = (system.state_dir / "logs" / "1.log").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1, 1, 0o600)


def test_named_output_is_opened_as_the_submitter(system: Driver, shared: Path) -> None:
    """What the submitter may write belongs to him."""
    system.run("/bin/echo", "hello", output_path=str(shared / "out"), **USER)
    assert (shared / "out").stat().st_uid == 1


def test_nothing_is_opened_with_roots_rights(system: Driver, tmp_path: Path) -> None:
    """A path that only root may write is refused."""
    path = tmp_path / "out"
    path.write_text("precious")
    path.chmod(0o600)
    system.start("/bin/echo", "gone", output_path=str(path), **USER)
    assert "Permission denied" in system.wait_for("start_failed")["message"]
    assert path.read_text() == "precious"


def test_the_folder_is_entered_as_the_submitter(system: Driver) -> None:
    """A folder that only root may enter is refused."""
    system.start("/bin/true", cwd="/root", **USER)
    message = system.wait_for("start_failed")["message"]
    assert message == "cannot start: /root: Permission denied"


def test_a_script_runs_as_its_submitter(system: Driver) -> None:
    """From a folder that he can reach, readable for him alone."""
    system.run(script='id -u; stat -c "%u %a" "$0"', env={"PATH": "/usr/bin:/bin"}, **USER)
    assert system.log() == "1\n1 700\n"


def test_niceness_cannot_be_improved(system: Driver) -> None:
    """The submitter's wish counts as far as his own rights go."""
    system.run("/usr/bin/nice", nice=-5, **USER)
    assert int(system.log()) >= 0


def test_limits_cannot_be_raised(system: Driver) -> None:
    """A hard limit beyond the launcher's own is not granted."""
    hard = system.files_limit[1]
    system.run("/bin/sh", "-c", "ulimit -Hn", rlimits=[["NOFILE", 100, hard + 1]], **USER)
    assert int(system.log()) <= hard


def test_the_submitter_cannot_kill_the_shim(system: Driver) -> None:
    """It belongs to root."""
    end = system.run("/bin/sh", "-c", "kill -9 $PPID || exit 3", **USER)
    assert end["exit_code"] == 3


def test_a_kill_reaches_the_submitters_processes(system: Driver) -> None:
    """Whoever they belong to."""
    system.start("/bin/sh", "-c", "setsid sleep 1000 & sleep 1000", **USER)
    system.wait_for("started")
    until(lambda: len(system.processes()) == 3)
    system.ask("kill", grace_period_s=1.0)
    assert system.wait_for("exited")["signal"] == signal.SIGTERM
    until(lambda: not system.processes())


def test_root_stays_root(system: Driver) -> None:
    """A job of root's runs as root."""
    end = system.run(sys.executable, "-c", "import os; os._exit(os.getuid())", user="root", uid=0)
    assert end["exit_code"] == 0

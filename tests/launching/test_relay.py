"""Output up to a size."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from gflow.launching import relay
from tests.launching.driver import Driver, until


def carried(tmp_path: Path, data: bytes, limit_bytes: int) -> bytes:
    """What a relay leaves of some output."""
    path = tmp_path / "log"
    with open(path, "ab") as file:
        capped = relay.Capped(lambda piece: file.write(piece), limit_bytes)
        for at in range(0, len(data), 7):
            capped.write(data[at : at + 7])
        capped.finish()
    return path.read_bytes()


def test_small_output_is_whole(tmp_path: Path) -> None:
    """Up to the size nothing is added or lost."""
    assert carried(tmp_path, b"0123456789", 10) == b"0123456789"


def test_cut(tmp_path: Path) -> None:
    """Beyond it there are two lines: where it was cut, and how much is missing."""
    assert carried(tmp_path, b"0123456789" * 5, 10) == (
        b"0123456789\n--- gflow: output is cut off here, at 10 bytes ---\n"
        b"--- gflow: 40 bytes more were dropped ---\n"
    )


def run(launcher: Driver, line: str, **fields: Any) -> int:
    """Exit code of a line for the shell; nothing of it is left then."""
    exited = launcher.run("sh", "-c", line, **fields)
    if not exited["gone"]:
        launcher.wait_for("gone")
    return int(exited["exit_code"])


def test_job_goes_on(launcher: Driver) -> None:
    """A command that writes far more than it may runs to its end, and nothing stays behind."""
    line = "head -c 3000000 /dev/zero; echo error >&2; exit 7"
    assert run(launcher, line, max_output_bytes=1000) == 7
    log = (launcher.state_dir / "logs" / "1.log").read_bytes()
    assert log.startswith(bytes(1000) + b"\n--- gflow: output is cut off here")
    assert len(log) < 1200 and log.count(b"---") == 4


def test_two_files(launcher: Driver, tmp_path: Path) -> None:
    """Output and errors have files and sizes of their own."""
    assert not run(
        launcher,
        "head -c 2000 /dev/zero; echo short >&2",
        max_output_bytes=1000,
        output_path="out",
        error_path="err",
        cwd=str(tmp_path),
        rlimits=[("CORE", 0, 0)],  # the way in which a command that changes itself is started
    )
    assert (tmp_path / "err").read_bytes() == b"short\n"
    assert 1000 < os.stat(tmp_path / "out").st_size < 1200


def test_outlives_the_shim(launcher: Driver, tmp_path: Path) -> None:
    """A command whose shim is killed still has somebody who takes its output."""
    line = "until [ -e go ]; do sleep 0.02; done; echo heard"
    launcher.start("sh", "-c", line, max_output_bytes=1000, cwd=str(tmp_path))
    os.kill(launcher.wait_for("started")["shim"][0], signal.SIGKILL)
    launcher.wait_for("found")
    (tmp_path / "go").touch()
    launcher.wait_for("lost")
    until(lambda: launcher.log() == "heard\n")

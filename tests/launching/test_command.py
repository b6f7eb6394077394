"""What is said when a command cannot start."""

from __future__ import annotations

import errno
import select
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.launching import command, protocol
from gflow.launching.command import CannotStart
from tests.launching.driver import ORDER, Driver


@given(st.text(max_size=5000))
def test_a_message_always_fits_into_a_report(text: str) -> None:
    """However it is encoded."""
    report = {"t": "start_failed", "message": str(CannotStart(text)), "transient": False}
    assert len(protocol.encode(report)) < select.PIPE_BUF - 500


def test_a_long_path_of_strange_letters_is_reported(launcher: Driver) -> None:
    """The shim does not fall over its own message."""
    launcher.start("/" + "\N{SNOWMAN}" * 1000 + "/x")
    assert launcher.wait_for("start_failed")["message"].startswith("cannot start: /\N{SNOWMAN}")


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENOSPC])
def test_what_passes_is_transient(number: int) -> None:
    """The job is not to blame for a machine that is short of something."""
    assert CannotStart.because_of(OSError(number, "x")).transient


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.E2BIG, errno.ENOEXEC])
def test_what_stays_is_permanent(number: int) -> None:
    """Trying again would fail again."""
    assert not CannotStart.because_of(OSError(number, "x")).transient


def test_words_are_looked_for_in_the_jobs_path(tmp_path: Path) -> None:
    """The first executable file of that name."""
    for name, mode in (("a", 0o600), ("b", 0o700), ("c", 0o700)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").touch(mode)
    folders = ":".join(str(tmp_path / name) for name in "abc")
    assert command.find("tool", folders) == f"{tmp_path}/b/tool"


def test_a_file_that_cannot_be_executed_is_told_from_a_missing_one(tmp_path: Path) -> None:
    """As a shell tells 126 from 127."""
    (tmp_path / "tool").touch(0o644)
    with pytest.raises(PermissionError):
        command.find("tool", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        command.find("other", str(tmp_path))


@pytest.mark.parametrize("blobs", [(b"garbage", None), (None, b"garbage")])
def test_damaged_blobs_are_told(launcher: Driver, blobs: tuple[bytes | None, ...]) -> None:
    """An environment or script that cannot be unpacked fails the start, not the machinery."""
    order = {**ORDER, "t": "start", "job_id": 1, "attempt": 1, "command": ["true"], "cwd": "/"}
    launcher.send(protocol.pack({**order, "grace_period_s": 1.0}, (*blobs, b"{}")))
    assert "damaged" in launcher.wait_for("start_failed")["message"]

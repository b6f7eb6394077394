"""Where output goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.launching import output
from tests.launching.driver import Driver

KNOWN = output.values(42, 40, 7, name="train", user="ann")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("out-%j.txt", "out-42.txt"),
        ("%A_%a", "40_7"),
        ("%u/%x", "ann/train"),
        ("100%%", "100%"),
        ("%z%", "%z%"),
        ("%%j", "%j"),
    ],
)
def test_letters_of_a_pattern(pattern: str, path: str) -> None:
    """Each letter stands for its value, others stand for themselves."""
    assert output.expand(pattern, KNOWN) == path


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "..", ".", "a\nb", "\x1b[31m"])
def test_a_name_is_one_part_of_a_path(name: str) -> None:
    """No job name leads into another folder."""
    part = output.expand("%x", output.values(1, None, None, name=name, user="u"))
    assert "/" not in part and part not in (".", "..") and part.isprintable()


def test_a_single_job_is_its_own_array() -> None:
    """%A is the job's id where there is no array."""
    assert output.expand("%A", output.values(5, None, None, name="", user="")) == "5"


def test_both_streams_share_the_log(launcher: Driver) -> None:
    """Without a path of its own, output and errors are one stream."""
    launcher.run("/bin/sh", "-c", "echo one; echo two >&2; echo three")
    assert launcher.log() == "one\ntwo\nthree\n"


def test_tasks_have_logs_of_their_own(launcher: Driver) -> None:
    """Named by array and task."""
    launcher.run("echo", "hello", job_id=9, array_id=5, task=3)
    assert launcher.log("5_3") == "hello\n"


def test_logs_are_private(launcher: Driver) -> None:
    """Whatever the submitter's umask says, nobody else reads the log."""
    launcher.run("echo", "hello", umask=0)
    assert (launcher.state_dir / "logs" / "1.log").stat().st_mode & 0o777 == 0o600


def test_a_log_can_be_read_under_any_umask(launcher: Driver) -> None:
    """A umask that forbids everything is the job's, not the log's."""
    launcher.run("echo", "hello", umask=0o777)
    assert (launcher.state_dir / "logs" / "1.log").stat().st_mode & 0o777 == 0o600


def test_later_attempts_are_appended_after_a_marker(launcher: Driver) -> None:
    """One log holds all attempts, and shows where the next one begins."""
    launcher.run("echo", "first")
    launcher.start("echo", "second", attempt=2)
    launcher.wait_for("exited", attempt=2)
    assert launcher.log() == "first\n--- gflow: attempt 2 ---\nsecond\n"


def test_paths_are_seen_from_the_jobs_folder(launcher: Driver, tmp_path: Path) -> None:
    """A relative path begins where the job runs."""
    launcher.run("echo", "hello", cwd=str(tmp_path), output_path="out-%j")
    assert (tmp_path / "out-1").read_text() == "hello\n"


def test_errors_can_go_elsewhere(launcher: Driver, tmp_path: Path) -> None:
    """Two paths, two files."""
    launcher.run(
        *("/bin/sh", "-c", "echo out; echo err >&2"),
        cwd=str(tmp_path),
        output_path="out",
        error_path="err",
    )
    assert [(tmp_path / name).read_text() for name in ("out", "err")] == ["out\n", "err\n"]


def test_the_same_path_twice_is_one_file(launcher: Driver, tmp_path: Path) -> None:
    """Output and errors do not overwrite each other."""
    launcher.run(
        *("/bin/sh", "-c", "echo out; echo err >&2"),
        cwd=str(tmp_path),
        output_path="both",
        error_path="both",
    )
    assert (tmp_path / "both").read_text() == "out\nerr\n"


@pytest.mark.parametrize(("mode", "text"), [("truncate", "new\n"), ("append", "old\nnew\n")])
def test_open_mode(launcher: Driver, tmp_path: Path, mode: str, text: str) -> None:
    """What was in the file goes or stays as asked for."""
    (tmp_path / "out").write_text("old\n")
    launcher.run("echo", "new", output_path=str(tmp_path / "out"), open_mode=mode)
    assert (tmp_path / "out").read_text() == text


def test_a_retry_keeps_what_the_first_attempt_wrote(launcher: Driver, tmp_path: Path) -> None:
    """Only the first attempt truncates."""
    path = tmp_path / "out"
    path.write_text("old\n")
    launcher.run("echo", "one", output_path=str(path))
    launcher.start("echo", "two", attempt=2, output_path=str(path))
    launcher.wait_for("exited", attempt=2)
    assert path.read_text() == "one\ntwo\n"


def test_named_files_obey_the_umask(launcher: Driver, tmp_path: Path) -> None:
    """They are the submitter's."""
    launcher.run("true", output_path=str(tmp_path / "out"), umask=0o027)
    assert os.stat(tmp_path / "out").st_mode & 0o777 == 0o640


def test_binary_output_is_kept_as_it_is(launcher: Driver) -> None:
    """Bytes are not touched."""
    launcher.run("/bin/sh", "-c", r"printf '\000\377\r\n\033[1m'")
    assert (launcher.state_dir / "logs" / "1.log").read_bytes() == b"\x00\xff\r\n\x1b[1m"

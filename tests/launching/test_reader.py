"""One-shot readers: bounded in size and time, and never in the launcher's way."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from gflow.launching import protocol, reader, request
from gflow.launching.protocol import Message
from tests.launching.driver import Driver, until


def answer(launcher: Driver, frame: bytes) -> dict[str, Any]:
    """The answer to question 7."""
    launcher.send(frame)
    result = launcher.wait_for("read_result")
    assert result["id"] == 7
    return result


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


@pytest.mark.parametrize(
    ("offset", "limit", "content"),
    [(0, 100, b"0123456789"), (3, 4, b"3456"), (-4, 100, b"6789"), (-99, 2, b"01"), (50, 9, b"")],
)
def test_slices(launcher: Driver, file: Path, offset: int, limit: int, content: bytes) -> None:
    """Any part of a file, from its beginning or its end."""
    result = answer(launcher, request.read_file(7, str(file), offset=offset, limit=limit))
    assert (result["content"], result["size"]) == (content, 10)


def test_an_answer_is_bounded(launcher: Driver, tmp_path: Path) -> None:
    """However much is asked for, one answer holds a megabyte."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(5 << 20)
    result = answer(launcher, request.read_file(7, str(path), limit=1 << 30))
    assert len(result["content"]) == 1 << 20 and result["size"] == 5 << 20


def test_a_missing_file_is_told(launcher: Driver) -> None:
    """With the path and the system's words."""
    result = answer(launcher, request.read_file(7, "/no/such"))
    assert result["kind"] == "not_found"
    assert result["error"] == "cannot read /no/such: No such file or directory"


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_only_regular_files_are_read(launcher: Driver, path: str) -> None:
    """A device or a folder is refused."""
    assert answer(launcher, request.read_file(7, path))["kind"] == "io"


def test_a_fifo_does_not_hold_the_reader(launcher: Driver, tmp_path: Path) -> None:
    """It is opened without waiting, and refused."""
    os.mkfifo(tmp_path / "fifo")
    result = answer(launcher, request.read_file(7, str(tmp_path / "fifo")))
    assert "not a regular file" in result["error"]


def test_status_of_a_file(launcher: Driver, file: Path) -> None:
    """Size and kind."""
    result = answer(launcher, request.read_status(7, str(file)))
    assert (result["size"], result["folder"]) == (10, False)


def test_who_a_user_is(launcher: Driver) -> None:
    """Names come from the system's own database."""
    assert answer(launcher, request.read_user(7, 0))["name"] == "root"


def test_an_unknown_user_is_told(launcher: Driver) -> None:
    """A uid without a name is no error of the machinery."""
    assert answer(launcher, request.read_user(7, 4_000_000_000))["kind"] == "not_found"


def test_many_questions_are_all_answered(launcher: Driver, file: Path) -> None:
    """More than are read at one time wait for their turn."""
    for number in range(40):
        launcher.send(request.read_file(number, str(file)))
    answers = {launcher.wait_for("read_result", id=number)["content"] for number in range(40)}
    assert answers == {b"0123456789"}


def test_reading_as_a_user(launcher: Driver, tmp_path: Path) -> None:
    """What the user may not read is refused, although the launcher is root."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0o600)
    result = answer(launcher, request.read_file(7, str(path), reader=("nobody", 65534, 65534)))
    assert result["kind"] == "forbidden"


def test_a_reader_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its question is answered all the same, and nothing of it stays."""
    monkeypatch.setattr(reader, "_LIMIT_S", 0.1)
    monkeypatch.setitem(reader._QUESTIONS, "hang", lambda message: time.sleep(1000))
    answers: list[Message] = []
    readers = reader.Readers(
        watch=lambda fd, callback: None,
        unwatch=os.close,
        send=lambda message, blobs: answers.append(message),
    )
    readers.ask({"id": 7, "what": "hang"})
    until(lambda: readers.deadline_s < time.monotonic())
    readers.expire(time.monotonic())
    assert [(one["id"], one["kind"]) for one in answers] == [(7, "timeout")]
    until(lambda: readers.expire(time.monotonic()) or not readers._dying)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_unknown_question_is_no_crash(launcher: Driver) -> None:
    """The launcher goes on."""
    launcher.send(protocol.pack({"t": "read", "id": 7, "what": "nonsense"}))
    assert launcher.wait_for("read_result")["kind"] == "io"
    assert launcher.run("/bin/true")["exit_code"] == 0

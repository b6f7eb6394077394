from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gflow.api import location


def bound(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = str(folder / "gflow.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(path)
    return path


def test_a_named_folder_is_the_only_one(tmp_path: Path) -> None:
    """--runtime-dir wins, and nothing else is looked at."""
    assert location.folders(str(tmp_path), {"GFLOW_RUNTIME_DIR": "/x"}, 5) == [str(tmp_path)]
    assert location.folders(None, {"GFLOW_RUNTIME_DIR": "/x"}, 5) == ["/x"]


def test_the_order_without_a_name() -> None:
    """The session's folder, the one in /tmp, the system's."""
    assert location.folders(None, {"XDG_RUNTIME_DIR": "/run/user/5"}, 5) == [
        "/run/user/5/gflow",
        "/tmp/gflow-5",
        "/run/gflow",
    ]


def test_a_path_too_long_for_a_socket_is_replaced() -> None:
    """unix(7) allows 107 bytes; longer folders mean the one in /tmp."""
    assert location.folders("/x" * 60, {}, 5) == ["/tmp/gflow-5"]


def test_a_socket_is_found(tmp_path: Path) -> None:
    """A socket in our own folder is taken."""
    path = bound(tmp_path)
    assert location.find_socket(str(tmp_path), {}) == (path, "")


def test_a_dead_socket_does_not_hide_a_living_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that was killed leaves its socket behind; one elsewhere is found."""
    bound(tmp_path / "dead")
    path = bound(tmp_path / "alive")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        os.unlink(path)
        sock.bind(path)
        sock.listen()
        both = [str(tmp_path / "dead"), str(tmp_path / "alive")]
        monkeypatch.setattr(location, "folders", lambda *_: both)
        assert location.find_socket(None, {}) == (path, "")


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    """A missing folder, a missing socket and a file in its place are told apart."""
    problems = []
    for prepare in (lambda: None, tmp_path.mkdir, lambda: (tmp_path / "gflow.sock").touch()):
        tmp_path.rmdir() if not problems else None
        prepare()
        found, problem = location.find_socket(str(tmp_path), {})
        assert found is None
        problems.append(problem)
    assert "there is no" in problems[0] and str(tmp_path) in problems[0]
    assert "gflow.sock" in problems[1]
    assert "not a socket" in problems[2]


def test_a_strangers_folder_is_not_trusted(tmp_path: Path) -> None:
    """A folder that somebody else made is refused, whatever lies in it."""
    if os.getuid() != 0:
        pytest.skip("only root can make a folder that belongs to somebody else")
    bound(tmp_path)
    os.chown(tmp_path, 12345, -1)
    found, problem = location.find_socket(str(tmp_path), {})
    assert found is None and "belongs to user 12345" in problem

"""Attempts on a terminal: real shims, real sockets."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gflow.launching import dialogue, visit
from tests.launching.driver import LIMIT_S, Driver, until

FORKED = {"nice": 3}


class Viewer:
    """A viewer that remembers everything it was shown."""

    def __init__(self, path: Path, *, read_only: bool = False, rows: int | None = None) -> None:
        connection = until(lambda: visit.connect(str(path)), "a terminal")
        assert isinstance(connection, socket.socket)
        self.connection = connection
        self._splitter = dialogue.Splitter()
        self.screen = b""
        #: The last frame of every kind but output.
        self.said: dict[bytes, dict[str, Any]] = {}
        columns = None if rows is None else 4 * rows
        with contextlib.suppress(BrokenPipeError):  # refused already: that is there to be read
            self.say(dialogue.HELLO, read_only=read_only, rows=rows, columns=columns)

    def say(self, kind: bytes, **facts: Any) -> None:
        self.connection.sendall(dialogue.pack_facts(kind, **facts))

    def type(self, text: str) -> None:
        self.connection.sendall(dialogue.pack(dialogue.INPUT, text.encode()))

    def look(self, timeout_s: float = LIMIT_S) -> bool:
        """Take in what comes; False: nothing came, or the connection has ended."""
        if not select.select([self.connection], [], [], timeout_s)[0]:
            return False
        try:
            data = self.connection.recv(1 << 16)
        except ConnectionResetError:
            return False
        for kind, payload in self._splitter.feed(data):
            if kind == dialogue.OUTPUT:
                self.screen += payload
            else:
                self.said[kind] = dialogue.facts_of(payload)
        return bool(data)

    def see(self, text: str) -> None:
        """Until this was shown."""
        self.until(lambda: text.encode() in self.screen)

    def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert self.look(), f"saw {self.screen[-2000:]!r} and heard {self.said}"

    def end(self) -> dict[str, Any]:
        """How the command ended, when the terminal says so."""
        self.until(lambda: dialogue.END in self.said)
        return self.said[dialogue.END]


def socket_of(launcher: Driver, job_id: int = 1) -> Path:
    return launcher.state_dir / "runs" / f"{job_id}.1.tty"


def start(launcher: Driver, line: str, **fields: Any) -> Path:
    """A line for bash, on a terminal; the terminal's socket."""
    launcher.start("bash", "-c", line, pty=True, **fields)
    launcher.wait_for("started")
    return socket_of(launcher)


def start_watching(launcher: Driver) -> Path:
    """A program that prints the size of its window whenever it is told to look."""
    code = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
print("up", flush=True)
while signal.sigwait([signal.SIGWINCH]):
    print("%d x %d" % os.get_terminal_size(), flush=True)
"""
    launcher.start(sys.executable, "-I", "-c", code, pty=True)
    launcher.wait_for("started")
    return socket_of(launcher)


@pytest.mark.parametrize("fields", [{}, FORKED], ids=["spawned", "forked"])
class TestCommand:
    """The same for both ways of starting."""

    def test_all_three_are_the_terminal(self, launcher: Driver, fields: dict) -> None:
        """Standard input, output and error are one terminal, and the controlling one."""
        line = "test -t 0 && test -t 2 && test $(readlink /proc/$$/fd/1) = $(tty) && : </dev/tty"
        launcher.start("bash", "-c", line, pty=True, **fields)
        assert launcher.wait_for("exited")["exit_code"] == 0, launcher.log()

    def test_nothing_else_is_open(self, launcher: Driver, fields: dict) -> None:
        """The shim's end of the terminal and its socket are not handed on."""
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
        end = launcher.run(sys.executable, "-I", "-c", code, pty=True, **fields)
        assert (end["exit_code"], launcher.log()) == (0, "[0, 1, 2]\n")

    def test_what_is_typed_arrives_and_is_echoed(self, launcher: Driver, fields: dict) -> None:
        """A viewer sees what it types, and the command reads it."""
        viewer = Viewer(start(launcher, 'read x; echo "<$x>"', **fields))
        viewer.type("word\r")
        viewer.see("word\r\n<word>")

    def test_the_interrupt_key_interrupts(self, launcher: Driver, fields: dict) -> None:
        """Ctrl-C reaches the command as a signal, and its exact end is told."""
        viewer = Viewer(
            start(launcher, "trap 'exit 7' INT; echo up; while :; do sleep 0.05; done", **fields)
        )
        viewer.see("up")
        viewer.type("\x03")
        assert launcher.wait_for("exited")["exit_code"] == 7


def test_the_log_has_everything_before_the_end_is_told(launcher: Driver) -> None:
    """When the exit is reported, the log is whole, and its lines are those of a text file."""
    launcher.start("seq", "1", "50000", pty=True)
    launcher.wait_for("exited")
    assert launcher.log() == "".join(f"{number}\n" for number in range(1, 50001))


def test_the_first_size_is_the_usual_one(launcher: Driver) -> None:
    """24 lines of 80 columns until somebody looks; TERM is set."""
    launcher.start("bash", "-c", "stty size; echo $TERM", pty=True)
    launcher.wait_for("exited")
    assert launcher.log() == "24 80\nxterm-256color\n"


def test_the_window_of_the_viewer_is_the_terminals(launcher: Driver) -> None:
    """Its size at joining, and each new one, with SIGWINCH for the command."""
    path = start_watching(launcher)
    viewer = Viewer(path)
    viewer.see("up")
    viewer.say(dialogue.SIZE, rows=50, columns=99)
    viewer.see("99 x 50")
    Viewer(path, rows=30)
    viewer.see("120 x 30")


@pytest.mark.parametrize("size", [0, -1, 70000, "x", None, [], 1.5])
def test_a_size_that_is_none_is_ignored(launcher: Driver, size: object) -> None:
    """A viewer cannot give the terminal an impossible window."""
    viewer = Viewer(start(launcher, "read x; stty size"))
    viewer.say(dialogue.SIZE, rows=size, columns=80)
    viewer.type("\r")
    viewer.see("24 80")


def test_who_joins_late_sees_what_was_shown(launcher: Driver) -> None:
    """The recent screen is shown again, to each viewer."""
    path = start(launcher, "echo first; read x; echo second; read x")
    early = Viewer(path)
    early.see("first")
    early.type("\r")
    late = Viewer(path)
    late.see("second")
    assert b"first" in late.screen
    early.see("second")


def test_a_viewer_that_may_only_look_types_nothing(launcher: Driver) -> None:
    """With read_only, input and sizes are ignored, and the viewer is told so."""
    path = start(launcher, 'read x; echo "<$x>"; stty size')
    looking, typing = Viewer(path, read_only=True, rows=40), Viewer(path)
    looking.until(lambda: dialogue.WELCOME in looking.said)
    assert looking.said[dialogue.WELCOME] == {"read_only": True}
    looking.type("no\r")
    looking.say(dialogue.SIZE, rows=10, columns=10)
    typing.type("yes\r")
    looking.see("<yes>\r\n24 80")


def test_a_stopped_viewer_holds_nobody_up(launcher: Driver) -> None:
    """A viewer that reads nothing costs the job nothing; later it is told what it missed."""
    path = start(launcher, "read x; seq 1 200000; echo over")
    stopped, other = Viewer(path), Viewer(path)
    other.type("\r")
    launcher.wait_for("exited")
    assert launcher.log().endswith("200000\nover\n")
    while stopped.look():
        pass
    assert stopped.said[dialogue.MISSED]["bytes"] > 0
    assert stopped.screen.endswith(b"over\r\n")


def test_input_that_nobody_reads_holds_nobody_up(launcher: Driver) -> None:
    """A viewer that types without end is stopped; the job and the others go on."""
    path = start(launcher, "stty raw -echo; echo up; sleep 100")
    typing = Viewer(path)
    typing.see("up")
    typing.connection.setblocking(False)
    frame = dialogue.pack(dialogue.INPUT, b"x" * 4096)
    with pytest.raises(BlockingIOError):
        for _ in range(10_000):
            typing.connection.sendall(frame)
            time.sleep(0)
    Viewer(path).see("up")
    launcher.ask("kill", grace_period_s=0.0)
    assert launcher.wait_for("exited")["signal"] == signal.SIGKILL


def test_the_end_is_exact(launcher: Driver) -> None:
    """A viewer learns the exit code, after everything that was shown."""
    viewer = Viewer(start(launcher, "read x; echo bye; exit 42"))
    viewer.type("\r")
    assert viewer.end() == {"exit_code": 42, "signal": None}
    assert viewer.screen.endswith(b"bye\r\n")


def test_a_kill_ends_it_as_any_job(launcher: Driver) -> None:
    """SIGTERM, grace period, SIGKILL, with viewers there or not."""
    viewer = Viewer(start(launcher, "trap '' TERM HUP; echo up; sleep 100; sleep 100"))
    viewer.see("up")
    launcher.ask("kill", grace_period_s=0.1)
    assert launcher.wait_for("exited")["signal"] == signal.SIGKILL
    assert viewer.end() == {"exit_code": None, "signal": signal.SIGKILL}


def test_the_terminal_outlives_the_launcher(launcher: Driver) -> None:
    """After kill -9 of the launcher the viewers see and type on, and new ones come in."""
    path = start(launcher, 'for i in 1 2; do read x; echo "<$x>"; done; exit 5')
    before = Viewer(path)
    launcher.kill()
    before.type("one\r")
    before.see("<one>")
    after = Viewer(path)
    after.see("<one>")
    launcher.spawn()
    launcher.ask("scan")
    launcher.wait_for("found")
    after.type("two\r")
    before.see("<two>")
    assert launcher.wait_for("exited")["exit_code"] == 5


def test_nothing_is_left_behind(launcher: Driver) -> None:
    """The socket goes with the attempt, and so do all processes."""
    path = start(launcher, "read x")
    viewer = Viewer(path)
    viewer.type("\r")
    viewer.end()
    until(lambda: not path.exists())
    until(lambda: not launcher.processes())


def test_the_socket_of_a_killed_shim_goes_with_its_run_file(launcher: Driver) -> None:
    """``forget`` deletes what a shim could not."""
    path = start(launcher, "trap '' HUP; echo up; sleep 100")
    Viewer(path).see("up")
    shim = next(pid for pid in launcher.children())
    os.kill(shim, signal.SIGKILL)
    launcher.wait_for("found", verdict="follow")
    launcher.ask("kill", grace_period_s=0.0)
    launcher.wait_for("lost")
    assert path.exists()
    launcher.ask("forget", attempts=[[1, 1]])
    until(lambda: not path.exists())


def test_paths_may_be_longer_than_a_sockets(tmp_path: Path) -> None:
    """A state folder whose path exceeds 107 bytes has terminals as well."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    driver = Driver(folder)
    try:
        viewer = Viewer(start(driver, "read x; exit 3"))
        viewer.type("\r")
        assert viewer.end()["exit_code"] == 3
    finally:
        driver.close()


def test_output_goes_to_the_file_that_was_named(launcher: Driver, tmp_path: Path) -> None:
    """--output, below the job's folder and with its umask, as without a terminal."""
    launcher.run("echo", "hi", pty=True, cwd=str(tmp_path), output_path="%j.out", umask=0o027)
    path = tmp_path / "1.out"
    assert path.read_text() == "hi\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_cannot_be_opened_is_named(launcher: Driver) -> None:
    """The job fails to start, in the operating system's words, and no socket is left."""
    launcher.start("true", pty=True, output_path="/nowhere/file")
    assert "/nowhere/file" in launcher.wait_for("start_failed")["message"]
    assert not socket_of(launcher).exists()


def test_a_stranger_is_refused(launcher: Driver) -> None:
    """Who is neither owner nor root nor a watcher sees nothing, whatever the folders allow."""
    if os.getuid() != 0:
        pytest.skip("becoming somebody else needs root")
    path = start(launcher, "echo secret; read x")
    os.chmod(path, 0o666)
    for folder in path.parents[:-2]:
        os.chmod(folder, 0o711)
    told, tell = os.pipe()
    if os.fork() == 0:
        try:
            os.setuid(65534)
            viewer = Viewer(path)
            while viewer.look():
                pass
            os.write(tell, repr((viewer.screen, viewer.said)).encode())
        except BaseException as error:
            os.write(tell, repr(error).encode())
        finally:
            os._exit(0)
    os.close(tell)
    words = os.read(told, 4096).decode()
    os.close(told)
    os.wait()
    assert "cannot attach to job 1: it is tester's" in words and "secret" not in words


def test_a_full_screen_is_drawn_again_for_each_viewer(launcher: Driver) -> None:
    """Who joins with a window of the same size makes the program draw once more."""
    path = start_watching(launcher)
    Viewer(path).see("up")
    Viewer(path).see("80 x 24")

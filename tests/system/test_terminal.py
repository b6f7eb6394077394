"""Jobs on a terminal, from a terminal: the real programs on both sides."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from tests.system.machine import BIN, Machine, eventually

_LIMIT_S = 30.0


class Window:
    """Somebody's terminal with one program in it."""

    def __init__(self, machine: Machine, *words: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(machine.work)
            os.execve(str(BIN / words[0]), list(words), machine.env)
        self.screen = b""
        self.resize(33, 99)
        self.before = termios.tcgetattr(self._fd)

    @property
    def modes(self) -> list[object]:
        """How its lines are treated now (termios(3))."""
        return termios.tcgetattr(self._fd)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def see(self, text: str) -> None:
        """Until this is shown."""
        end_s = time.monotonic() + _LIMIT_S
        while text.encode() not in self.screen:
            rest_s = end_s - time.monotonic()
            assert rest_s > 0 and self._look(rest_s), f"{text!r} is not in {self.screen!r}"

    def _look(self, timeout_s: float) -> bool:
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # the program has closed it
            return False
        self.screen += data
        return bool(data)

    def exit_code(self) -> int:
        """Of the program, once it has ended."""
        while self._look(_LIMIT_S):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self._fd)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@pytest.fixture
def window(machine: Machine) -> Iterator[Callable[..., Window]]:
    """Opens windows with a program of ours in them."""
    windows: list[Window] = []

    def opened(*words: str) -> Window:
        windows.append(Window(machine, *words))
        return windows[-1]

    yield opened
    for one in windows:
        one.close()


def test_a_shell_in_a_job(machine: Machine, window: Callable[..., Window]) -> None:
    """``run --pty bash`` is a shell as anywhere: line editing, Ctrl-C, size, exit code."""
    here = window("gflowctl", "run", "--pty", "--", "bash", "--norc", "-i")
    here.see("leaves it")
    here.type("PS1='<\\#>'\r")  # its number: what is typed before a prompt stands may be lost
    here.see("<2>")
    here.type("echo o''ne; stty size\r")
    here.see("one\r\n33 99")
    here.see("<3>")
    here.resize(20, 60)
    here.type("""sh -c "echo beg''un; exec sleep 100"\r""")
    here.see("begun")
    here.type("\x03")
    here.see("<4>")
    here.type("stty size; exit 9\r")
    here.see("20 60")
    assert here.exit_code() == 9
    assert "exit code 9" in here.screen.decode()


def test_detach_and_join_again(machine: Machine, window: Callable[..., Window]) -> None:
    """The detach key leaves the job running and the terminal as it was; attach finds it again."""
    here = window("gflowctl", "run", "--pty", "--", "bash", "-c", 'read x; echo "<$x>"; exit 3')
    here.see("leaves it")
    eventually(lambda: here.modes != here.before)
    here.type("\x1c")
    here.see("it goes on")
    eventually(lambda: here.modes == here.before)
    assert here.exit_code() == 0
    assert machine.in_state(1, "RUNNING")
    again = window("gflowctl", "attach", "1", "--detach-key", "^B")
    again.see("Ctrl-B leaves it")
    again.type("word\r")
    again.see("<word>")
    assert again.exit_code() == 3


def test_two_look_and_one_may_not_type(machine: Machine, window: Callable[..., Window]) -> None:
    """Both see the same; with --read-only nothing that is typed arrives, Ctrl-C included."""
    machine.submit("--pty", "--", "bash", "-c", 'echo up; read x; echo "<$x>"; exit 4')
    looking = window("gflowctl", "attach", "--read-only", "1")
    looking.see("up")
    looking.type("no\x03\r")
    typing = window("gflowctl", "attach", "1")
    typing.see("up")
    typing.type("yes\r")
    looking.see("<yes>")
    assert (looking.exit_code(), typing.exit_code()) == (4, 4)


def test_it_outlives_the_supervisor(machine: Machine, window: Callable[..., Window]) -> None:
    """After kill -9 of supervisor and launcher one types on; the next supervisor knows the end."""
    here = window("gflowctl", "run", "--pty", "--", "bash", "-c", 'read x; echo "<$x>"; exit 6')
    here.see("leaves it")
    pids = machine.note_pids()
    machine.kill()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pids["launcher"], signal.SIGKILL)
    here.type("word\r")
    here.see("<word>")
    machine.start()
    assert here.exit_code() == 6
    assert machine.job(1)["exit_code"] == 6


def test_attach_without_a_terminal_follows_the_log(machine: Machine) -> None:
    """The output, then the job's exit code."""
    machine.submit("--", "bash", "-c", "echo plain; exit 5")
    answer = machine.ctl("attach", "1")
    assert (answer.stdout, answer.returncode) == ("plain\n", 5)


def test_attach_waits_for_a_job_that_waits(machine: Machine, window: Callable[..., Window]) -> None:
    """A held job is joined when it is released; what was too short to join is read from its log."""
    machine.submit("--hold", "--pty", "--", "echo", "brief")
    here = window("gflowctl", "attach", "1")
    here.see("job 1 waits: JobHeldUser")
    machine.ctl("release", "1")
    here.see("brief")
    assert here.exit_code() == 0


def test_jobs_of_the_tmux_executor_have_one(new_machine: Callable[..., Machine]) -> None:
    """``[executor] type = "tmux"`` gives every job a terminal that does not refuse it."""
    machine = new_machine(GFLOW_EXECUTOR__TYPE="tmux")
    machine.start()
    on, off = machine.submit("--", "tty"), machine.submit("--no-pty", "--", "tty")
    assert machine.wait(on, off) == 1
    assert [machine.job(job_id)["exit_code"] for job_id in (on, off)] == [0, 1]


def test_what_cannot_be_is_refused(machine: Machine) -> None:
    """One sentence, and the documented exit code."""
    machine.submit("--", "true")
    for words, code, sentence in (
        (["attach", "99"], 1, "no such job"),
        (["attach", "1", "--detach-key", "q"], 2, "write ^B for Ctrl-B"),
        (["attach", "--json", "1"], 2, "no JSON"),
        (["attach", "1-2"], 2, "one job"),
        (["submit", "--pty", "-e", "err", "--", "true"], 1, "one output"),
    ):
        answer = machine.ctl(*words)
        assert answer.returncode == code and sentence in answer.stderr, answer


# --- tmux as a viewer -----------------------------------------------------------------------------


class Tmux:
    """A tmux server of its own, and the older commands that use it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        folder = machine.runtime / "tmux"
        folder.mkdir()
        machine.env |= {"TMUX_TMPDIR": str(folder), "TERM": "xterm", "USER": "ann"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A program with this server."""
        path = str(BIN / words[0]) if words[0].startswith("g") else words[0]
        return subprocess.run(
            [path, *words[1:]],
            env=self.machine.env,
            cwd=self.machine.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def sessions(self) -> list[str]:
        return self.run("tmux", "list-sessions", "-F", "#{session_name}").stdout.split()

    def screen(self, session: str) -> str:
        return self.run("tmux", "capture-pane", "-p", "-t", f"={session}:").stdout

    def close(self) -> None:
        self.run("tmux", "kill-server")


@pytest.fixture
def tmux(machine: Machine) -> Iterator[Tmux]:
    """A tmux server that ends with the test."""
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux")
    made = Tmux(machine)
    yield made
    made.close()


def test_a_session_shows_the_job_and_stays(tmux: Tmux, window: Callable[..., Window]) -> None:
    """What is typed in tmux arrives; after the end it shows the code, until it is closed."""
    tmux.run("gbatch", "--pty", "bash", "-c", 'read x; echo "<$x>"; exit 7')
    here = window("gjob", "attach", "--tmux", "1")
    eventually(lambda: "leaves it" in tmux.screen("gjob-1"))
    assert "gjob-1" in tmux.run("gqueue", "-T").stdout
    here.type("word\r")
    eventually(lambda: "<word>" in tmux.screen("gjob-1"))
    eventually(lambda: "exit code 7" in tmux.screen("gjob-1"))
    assert tmux.run("gjob", "close-sessions", "-s", "Running").stdout == ""
    closed = tmux.run("gjob", "close-sessions", "-j", "1")
    assert closed.stdout == "gjob-1\n"
    assert "Closed=1 AlreadyClosed=0 Failed=0" in closed.stderr
    assert here.exit_code() == 7


def test_killing_tmux_leaves_the_job_alone(tmux: Tmux, window: Callable[..., Window]) -> None:
    """A session is a viewer: without it the job runs on, and close-sessions -a spares it."""
    tmux.run("gbatch", "--pty", "bash", "-c", "read x; exit 3")
    window("gjob", "attach", "--tmux", "1")
    eventually(lambda: "leaves it" in tmux.screen("gjob-1"))
    assert "no matching sessions" in tmux.run("gjob", "close-sessions", "-a").stderr
    assert tmux.sessions() == ["gjob-1"]
    tmux.close()
    here = window("gjob", "attach", "1")
    here.see("leaves it")
    here.type("\r")
    assert here.exit_code() == 3


def test_inside_tmux_the_job_gets_a_window(tmux: Tmux) -> None:
    """Beside what was there; it stays after the end, with the code, and takes no session."""
    tmux.run("gbatch", "--pty", "bash", "-c", 'read x; echo "<$x>"; exit 7')
    tmux.run("tmux", "new-session", "-d", "-s", "outer", "-n", "first", "sleep 600")
    where = "#{socket_path},#{pid},0"
    tmux.machine.env["TMUX"] = tmux.run("tmux", "display-message", "-p", where).stdout.strip()
    assert tmux.run("gjob", "attach", "--tmux", "1").returncode == 0
    listed = tmux.run("tmux", "list-windows", "-t", "=outer:", "-F", "#{window_name}")
    assert listed.stdout.split() == ["first", "gjob-1"]
    assert tmux.sessions() == ["outer"]
    eventually(lambda: "leaves it" in tmux.screen("outer"))
    tmux.run("tmux", "send-keys", "-t", "=outer:", "word", "Enter")
    eventually(lambda: "<word>" in tmux.screen("outer"))
    eventually(lambda: "exit code 7" in tmux.screen("outer"))
    assert tmux.machine.job(1)["exit_code"] == 7

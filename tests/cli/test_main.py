from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gflow.cli import main as cli
from tests.api.fake import RunningServer
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]


def gflowctl(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """The command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gflow.cli.main", *words],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        **options,  # type: ignore[call-overload]
    )


def test_help_names_every_command(run: Run) -> None:
    """gflowctl alone, and --help, list all commands."""
    for words in ((), ("--help",), ("-h",)):
        result = run(*words)
        assert result.code == 0
        assert all(f"\n  {name} " in result.out for name in cli.COMMANDS)


def test_help_of_one_command(run: Run) -> None:
    """``help COMMAND`` is ``COMMAND --help``."""
    assert run("help", "queue").out == run("queue", "--help").out
    assert run("help").out == run("--help").out
    assert run("help", "quue").code == 2


@pytest.mark.parametrize("name", [*cli.COMMANDS])
def test_every_command_explains_itself(run: Run, name: str) -> None:
    """COMMAND --help exits 0 and speaks of --json."""
    result = run(name, "--help")
    assert result.code == 0 and "--json" in result.out


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    """A typo is an error with a hint, exit 2."""
    result = run("quue")
    assert (result.code, result.out) == (2, "")
    assert "did you mean queue" in result.err


def test_an_unknown_option_is_an_error(run: Run) -> None:
    """Options are never guessed and never abbreviated."""
    for words in (("--jsno", "ping"), ("queue", "--al"), ("submit", "--cpu", "1", "true")):
        result = run(*words)
        assert result.code == 2 and result.out == "" and len(result.err.splitlines()) == 1


def test_no_supervisor_is_exit_69(run: Run, tmp_path: Path) -> None:
    """One sentence that says how to start one."""
    for words in (("queue",), ("wait", "1"), ("log", "-f", "1"), ("cancel", "1")):
        result = run("--runtime-dir", str(tmp_path), *words)
        assert result.code == 69
        assert "gflowctl start" in result.err and len(result.err.splitlines()) == 1


def test_global_options_stand_before_or_after(server: RunningServer, run: Run) -> None:
    """--json and --runtime-dir are taken in both places."""
    folder = str(server.folder)
    for words in (("--json", "--runtime-dir", folder, "ping"), ("ping", "--json")):
        assert run(*words).out.startswith('{"version"')


def test_a_refusal_is_exit_1(server: RunningServer, run: Run) -> None:
    """The supervisor's sentence goes to standard error."""
    result = run("show", "77")
    assert (result.code, result.out) == (1, "")
    assert result.err == "gflowctl: cannot find job 77: there is none\n"


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (("show", "77"), 1, "not_found"),
        (("wait", "1x"), 2, "usage"),
        (("submit", "--nonsense", "true"), 2, "usage"),
        (("queue", "--state", "ODD"), 2, "usage"),
        (("check",), 70, "internal"),
    ],
)
def test_with_json_an_error_is_json_too(
    server: RunningServer, run: Run, words: tuple[str, ...], code: int, kind: str
) -> None:
    """Standard output is JSON whatever happens; the sentence is on standard error as ever."""
    name, *rest = words
    result = run(name, "--json", *rest)
    error = json.loads(result.out)["error"]
    assert (result.code, error["kind"]) == (code, kind)
    assert error["message"] in result.err


def test_with_json_no_supervisor_is_json(run: Run, tmp_path: Path) -> None:
    """Scripts need not read sentences to learn that nobody is there."""
    result = run("--json", "--runtime-dir", str(tmp_path), "queue")
    assert (result.code, json.loads(result.out)["error"]["kind"]) == (69, "unreachable")


def test_with_json_there_is_one_value(server: RunningServer, run: Run) -> None:
    """A command that answers and fails prints its answer alone."""
    assert json.loads(run("cancel", "--json", "77").out)["refused"]


def test_an_internal_error_is_exit_70(server: RunningServer, run: Run) -> None:
    """A bug of the supervisor is told as such."""
    assert run("check").code == 70


def test_a_bug_of_our_own_is_exit_70(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback ever reaches a user."""
    monkeypatch.delenv("GFLOW_TRACEBACK", raising=False)
    monkeypatch.setattr(cli, "build_parser", lambda name: 1 // 0)
    result = run("ping")
    assert result.code == 70 and "ZeroDivisionError" in result.err


def test_a_closed_pipe_is_no_error(server: RunningServer) -> None:
    """``gflowctl queue | head -1`` says nothing on standard error."""
    for number in range(1, 2000):
        server.operations.add(number)
    done = subprocess.run(
        f"{sys.executable} -m gflow.cli.main queue --all | head -1",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.splitlines()) == 1


def test_a_full_disk_is_told(server: RunningServer) -> None:
    """Output that cannot be written is a failure, in one sentence."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gflow.cli.main", "queue"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == 1
    assert (
        b"cannot write the answer: No space left" in done.stderr
        and len(done.stderr.splitlines()) == 1
    )


def test_closed_standard_streams_do_no_harm(server: RunningServer) -> None:
    """With stdout closed from the start nothing is printed and no traceback appears."""
    done = subprocess.run(
        f"{sys.executable} -m gflow.cli.main queue >&-",
        shell=True,
        cwd=ROOT,
        capture_output=True,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1


def test_what_the_terminal_cannot_show_is_escaped(server: RunningServer) -> None:
    """An encoding without the characters of a name is no reason to fail."""
    server.operations.add(1, name="ü…")
    done = gflowctl("queue", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xfc\\u2026" in done.stdout


def test_words_are_utf8_in_every_locale(server: RunningServer) -> None:
    """Arguments reach the job byte for byte, although Python would read them as ASCII."""
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = "from gflow.cli.program import main; exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "submit", "--", "echo", "é"],
        env={**os.environ, **plain},
        cwd=ROOT,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert server.operations.submissions[0].spec.command == ("echo", "é")


def test_hostile_words_are_escaped(run: Run) -> None:
    """What a user typed is never sent raw to the terminal."""
    result = run("\x1b[31mred\r\n")
    assert result.code == 2
    assert "\x1b" not in result.err and len(result.err.splitlines()) == 1


def test_the_version(run: Run) -> None:
    """--version prints it."""
    assert run("--version").out.startswith("gflowctl ")


def test_arguments_that_are_not_utf8_are_refused(server: RunningServer) -> None:
    """JSON cannot carry them: a clear sentence, and no job."""
    done = gflowctl("submit", "--", os.fsencode("echo"), b"\xff\xfe")  # type: ignore[arg-type]
    assert done.returncode == 1 and b"not valid UTF-8" in done.stderr
    assert server.operations.records == {}

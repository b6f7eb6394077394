"""``gflowctl``: finds the command, loads it alone, and turns what goes wrong into an exit code.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 69 no supervisor; 75 try later; 70 a bug.
``run`` and ``wait``: the job's own code, 128 + signal, 124 timeout, 137 out of memory.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
from importlib import import_module

from gflow.api.quantity import GrammarError
from gflow.api.wire import Broken, Refusal, Unreachable
from gflow.cli import rendering
from gflow.cli.command import (
    EXIT_BUG,
    EXIT_FAILED,
    EXIT_NO_SUPERVISOR,
    EXIT_TRY_LATER,
    EXIT_USAGE,
    Failure,
    Parser,
)
from gflow.cli.session import Session
from gflow.errors import ConfigError

#: Command → (module of gflow.cli, what it does), in the order of the help.
COMMANDS = {
    "submit": ("submission", "submit a job: a command, a script, or - for standard input"),
    "run": ("submission", "submit, follow the output, exit with the job's own code"),
    "queue": ("listing", "what waits and runs"),
    "show": ("listing", "everything about some jobs"),
    "explain": ("listing", "every reason why a job waits, and when it may start"),
    "priority": ("outlook", "what a job's place in the order is made of"),
    "simulate": ("outlook", "when a job would run, and who would be delayed"),
    "log": ("output", "a job's output, as it comes with -f"),
    "attach": ("attaching", "join the terminal of a job (submit --pty); else follow its log"),
    "wait": ("output", "wait for jobs to end"),
    "cancel": ("control", "end jobs and everything they started, or send them a signal"),
    "hold": ("control", "keep pending jobs from starting"),
    "release": ("control", "undo hold"),
    "update": ("control", "change fields of jobs"),
    "requeue": ("control", "run jobs again"),
    "suspend": ("control", "stop running jobs for a while"),
    "resume": ("control", "let suspended jobs go on"),
    "history": ("listing", "jobs that have ended"),
    "top": ("top", "a live view of machine, jobs and one job's log"),
    "report": ("report", "what jobs asked for and used: by user, project, day, state"),
    "quota": ("quota", "limits of users and projects, and what is used of them"),
    "group": ("quota", "groups of jobs, and how many of each run at once"),
    "reserve": ("reservation", "keep cpus or cards for somebody for a time"),
    "reservations": ("reservation", "what is reserved: list, get, cancel"),
    "info": ("service", "the machine: what it has, what is free, its cards"),
    "status": ("service", "how the supervisor and its processes are"),
    "ping": ("service", "whether the supervisor answers"),
    "start": ("service", "start a supervisor in the background"),
    "stop": ("stopping", "end the supervisor; running jobs live on"),
    "drain": ("maintenance", "start no more jobs"),
    "undrain": ("maintenance", "start jobs again"),
    "backup": ("maintenance", "write a copy of the store to a file"),
    "restore": ("maintenance", "make a store from a backup"),
    "import": ("takeover", "take over jobs, history and limits of the older gflow"),
    "check": ("maintenance", "look over the store"),
    "completion": ("completion", "print a completion script for bash, zsh or fish"),
}

#: Exit code → kind of the error that ``--json`` prints, where the supervisor names none.
_KINDS = {
    EXIT_FAILED: "failed",
    EXIT_USAGE: "usage",
    EXIT_NO_SUPERVISOR: "unreachable",
    EXIT_TRY_LATER: "unavailable",
    EXIT_BUG: "internal",
}
#: Reading end of a pipe is gone: whoever closed it has what it wanted.
_EXIT_PIPE_CLOSED = 0
_EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command line; never raises but for SystemExit with a usage error's code."""
    line = _Line(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    try:
        code = line.run()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _forget_stdout()
        return _EXIT_PIPE_CLOSED
    except KeyboardInterrupt:
        _forget_stdout()
        return _EXIT_INTERRUPTED
    except OSError as error:
        _forget_stdout()
        return _say(_words_of(error), EXIT_FAILED)


class _Line:
    """One command line, from its words to its exit code.

    With ``--json`` an error is on standard output too, as ``{"error": {"kind", "message"}}``,
    unless the command has said something there before.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._as_json = False
        self._session: Session | None = None

    def run(self) -> int:
        """Run it; OSError is the caller's, all else becomes a sentence and a code."""
        try:
            return self._dispatch()
        except Unreachable as error:
            return self._complain(f"{error}; start one with: gflowctl start", EXIT_NO_SUPERVISOR)
        except Refusal as error:
            failed = EXIT_BUG if error.kind == "internal" else EXIT_FAILED
            code = EXIT_TRY_LATER if error.status == 503 else failed
            return self._complain(str(error), code, error.kind)
        except Broken as error:
            return self._complain(str(error), EXIT_TRY_LATER)
        except Failure as error:
            return self._complain(str(error), error.code)
        except GrammarError as error:
            return self._complain(str(error), EXIT_USAGE)
        except ConfigError as error:
            return self._complain(str(error), EXIT_FAILED)
        except OSError:
            raise
        except Exception as error:
            if os.environ.get("GFLOW_TRACEBACK"):
                raise
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return self._complain(
                f"this is a bug: {what}; GFLOW_TRACEBACK=1 shows where, please report it", EXIT_BUG
            )

    def _dispatch(self) -> int:
        runtime_dir, self._as_json, rest = _leading_options(self._words)
        if not rest:
            print(help_text())
            return 0
        name, *arguments = rest
        if name == "help":
            name, *arguments = [*arguments[:1], "--help"] if arguments else ["--help"]
            if name == "--help":
                print(help_text())
                return 0
        if name not in COMMANDS:
            from gflow.api.quantity import nearest

            near = nearest(name, [*COMMANDS])
            hint = f"; did you mean {near}?" if near else ""
            raise Failure(f"there is no command {rendering.quoted(name)}{hint}", EXIT_USAGE)
        module = import_module(f"gflow.cli.{COMMANDS[name][0]}")
        options = self._parse(build_parser(name), arguments)
        self._as_json = options.json or self._as_json
        self._session = Session(options.runtime_dir or runtime_dir, self._as_json)
        _take_interrupts()
        try:
            code: int = module.run(name, options, self._session)
            return code
        finally:
            self._session.close()

    def _parse(self, parser: Parser, arguments: list[str]) -> argparse.Namespace:
        try:
            return parser.parse_args(arguments)
        except SystemExit:
            if parser.complaint and (self._as_json or "--json" in arguments):
                _print_error("usage", parser.complaint)
            raise

    def _complain(self, message: str, code: int, kind: str | None = None) -> int:
        if self._as_json and not (self._session and self._session.has_answered):
            _print_error(kind or _KINDS.get(code, "failed"), message)
        return _say(message, code)


def build_parser(name: str) -> Parser:
    """The parser of one command."""
    module_name, summary = COMMANDS[name]
    parser = Parser(prog=f"gflowctl {name}", description=summary[0].upper() + summary[1:] + ".")
    import_module(f"gflow.cli.{module_name}").configure(name, parser)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--runtime-dir", metavar="DIR", help="where the supervisor's socket is")
    return parser


def _leading_options(words: list[str]) -> tuple[str | None, bool, list[str]]:
    """(runtime folder, JSON?, the rest): options that may stand before the command."""
    runtime_dir, as_json = None, False
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word, equals, value = rest.pop(0).partition("=")
        if word == "--runtime-dir" and (equals or rest):
            runtime_dir = value if equals else rest.pop(0)
        elif word == "--json":
            as_json = True
        elif word in ("-h", "--help"):
            return None, False, []
        elif word in ("-V", "--version"):
            from gflow import __version__

            print(f"gflowctl {__version__}")
            raise SystemExit(0)
        else:
            raise Failure(
                f"the option {rendering.quoted(word)} is not understood; see gflowctl --help",
                EXIT_USAGE,
            )
    return runtime_dir, as_json, rest


def help_text() -> str:
    """What ``gflowctl --help`` prints."""
    lines = [
        "usage: gflowctl [--runtime-dir DIR] [--json] COMMAND …",
        "",
        "Jobs on one shared machine. gflowctl COMMAND --help says more.",
        "",
    ]
    lines += [f"  {name:<12} {summary}" for name, (_, summary) in COMMANDS.items()]
    lines += [
        "",
        "Jobs are named 7, 3-9, 4,6, 7_3 (task 3 of array 7), @ (my last), @~1 (the one before).",
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 69 no supervisor, 75 try later,",
        "70 a bug; run and wait: the job's own code, 128 + signal, 124 timeout, 137 out of memory.",
    ]
    return "\n".join(lines)


def _take_interrupts() -> None:
    """From here on Ctrl-C is the command's: what it asked for may have to be undone."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _print_error(kind: str, message: str) -> None:
    import json

    print(json.dumps({"error": {"kind": kind, "message": message}}), flush=True)


def _words_of(error: OSError) -> str:
    words = error.strerror or str(error)
    if error.filename:
        return f"{error.filename}: {words}"
    if error.errno == errno.ENOSPC:
        return f"cannot write the answer: {words}"  # a full disk below standard output
    return words


def _say(message: str, code: int) -> int:
    try:
        print(f"gflowctl: {rendering.escape(message)}", file=sys.stderr)
    except OSError:
        pass  # nobody listens
    return code


def _open_closed_streams() -> None:
    """A shell's ``>&-`` leaves None behind; what is printed there goes nowhere.

    What the terminal's encoding lacks is printed as an escape.
    """
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _forget_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main())

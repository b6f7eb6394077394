"""Entry points of the older commands: find the module, run it, turn what goes wrong into words.

Exit codes are the older gflow's: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from gflow.api.quantity import GrammarError
from gflow.api.wire import Broken, Refusal, Unreachable
from gflow.cli import rendering
from gflow.cli.command import EXIT_FAILED, Failure
from gflow.errors import ConfigError

#: Program → module of this package.
PROGRAMS = {
    "gbatch": "batch",
    "gqueue": "queue",
    "gcancel": "cancel",
    "gjob": "job",
    "ginfo": "info",
    "gstats": "statistic",
    "gctl": "control",
    "gflowd": "daemon",
}
_NO_SERVER = (
    "Could not connect to gflowd server. Is the server running?\n"
    "Hint: Start the server with 'gflowd up'"
)


def gbatch() -> int:
    """Submit jobs."""
    return run("gbatch", sys.argv[1:])


def gqueue() -> int:
    """List jobs."""
    return run("gqueue", sys.argv[1:])


def gcancel() -> int:
    """End jobs."""
    return run("gcancel", sys.argv[1:])


def gjob() -> int:
    """Look at a job, and change it."""
    return run("gjob", sys.argv[1:])


def ginfo() -> int:
    """Show the cards."""
    return run("ginfo", sys.argv[1:])


def gstats() -> int:
    """Show figures."""
    return run("gstats", sys.argv[1:])


def gctl() -> int:
    """Groups, quotas, reservations, cards."""
    return run("gctl", sys.argv[1:])


def gflowd() -> int:
    """Start and stop the supervisor."""
    return run("gflowd", sys.argv[1:])


def gflow() -> int:
    """``gflow COMMAND …``: any of the others."""
    return multicall(sys.argv[1:])


def multicall(words: list[str]) -> int:
    """Run the command that the first word names."""
    if words[:1] == ["__multicall"]:
        words = words[1:]
    known = ", ".join(sorted([*PROGRAMS, "mcp"]))
    if words[:1] == ["completion"]:
        return run("gflow", words)
    if words and words[0] in PROGRAMS:
        return run(words[0], words[1:])
    print(f"usage: gflow COMMAND …\n\nCommands: {known}; see also gflowctl", file=sys.stderr)
    if not words:
        return 0
    if words[0] == "mcp":
        problem = "mcp is not part of this program: run the older one with --gflow-api"
    else:
        problem = f"Unknown command '{rendering.escape(words[0])}'. Expected one of: {known}"
    print(problem, file=sys.stderr)
    return EXIT_FAILED


def run(program: str, words: list[str]) -> int:
    """Run one command line of a program; raises SystemExit(2) for wrong usage."""
    if words[:1] in (["-V"], ["--version"]):
        from gflow import __version__

        print(f"{program} {__version__} (gflow-scheduler)")
        return 0
    try:
        if words[:1] == ["completion"]:
            module = import_module("gflow.cli.classic.completing")
            return int(module.run(program, words[1:]))
        code: int = import_module(f"gflow.cli.classic.{PROGRAMS[program]}").run(_configured(words))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return 130
    except Unreachable:
        print(_NO_SERVER, file=sys.stderr)
        return EXIT_FAILED
    except (Refusal, Broken, Failure, GrammarError, ConfigError, OSError) as error:
        if os.environ.get("GFLOW_TRACEBACK"):
            raise
        print(rendering.escape(str(error)), file=sys.stderr)
        return error.code if isinstance(error, Failure) else EXIT_FAILED


def _configured(words: list[str]) -> list[str]:
    """The words without ``--config FILE``, which is read instead of the usual files."""
    rest = list(words)
    for at, word in enumerate(words):
        if not word.startswith("-"):
            break
        name, equals, path = word.partition("=")
        if name == "--config" and (equals or at + 1 < len(words)):
            path = path if equals else words[at + 1]
            del rest[at : at + (1 if equals else 2)]
            if os.path.exists(path):
                os.environ["GFLOW_CONFIG"] = path
            else:
                text = f'Warning: Config file "{rendering.escape(path)}" not found.'
                print(text, file=sys.stderr)
            break
    return rest


if __name__ == "__main__":
    sys.exit(multicall(sys.argv[1:]))

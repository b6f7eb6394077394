"""Completion of the older commands: ``gbatch completion bash``, and so for each of them."""

from __future__ import annotations

from gflow.cli import completion
from gflow.cli.classic import batch, cancel, control, daemon, info, job, queue, statistic
from gflow.cli.command import Parser
from gflow.cli.completion import SHELLS, Command, command

_OWN = {
    "gbatch": batch.parser,
    "gqueue": queue.parser,
    "gcancel": cancel.parser,
    "ginfo": info.parser,
    "gstats": statistic.parser,
}
_SCRIPT = "print a completion script"


def run(program: str, words: list[str]) -> int:
    """Print the script for the shell that is named."""
    parser = Parser(prog=f"{program} completion")
    parser.add_argument("shell", choices=SHELLS)
    print(completion.script(parser.parse_args(words).shell, program, commands(program)))
    return 0


def commands(program: str) -> list[Command]:
    """What a program understands; it itself comes first."""
    nothing = Parser(prog=program)
    last = command("completion", _SCRIPT, nothing, SHELLS)
    found = [command("", "", _OWN.get(program, lambda: nothing)(), ("completion",))]
    if program == "gbatch":
        found.append(command("new", "a script to begin with", nothing))
    elif program == "gjob":
        found += [command(name, what, job.parser(name)) for name, what in job.COMMANDS.items()]
    elif program == "gflowd":
        known = daemon.COMMANDS.items()
        found += [command(name, what, daemon.parser(name)) for name, what in known]
    elif program == "gctl":
        found += [_of_gctl(name, what) for name, what in control.COMMANDS.items()]
    elif program == "gflow":
        from gflow.cli.classic import main

        found += [command(name, "", nothing) for name in main.PROGRAMS]
    words = [one.word for one in found[1:]] + ["completion"]
    return [found[0]._replace(words=words), *found[1:], last]


def _of_gctl(name: str, what: str) -> Command:
    """A command with its actions, and the options of all of them."""
    actions = control.NESTED.get(name, ())
    if not actions:
        return command(name, what, control.parser(name))
    options = {
        tuple(option.option_strings): option
        for action in actions
        for option in command("", "", control.parser(f"{name} {action}")).options
    }
    return Command(name, what, [*options.values()], actions)

"""``completion``: scripts for bash, zsh and fish, made from the parsers themselves."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from gflow.cli.command import Parser
from gflow.cli.session import Session

SHELLS = ("bash", "zsh", "fish")


class Command(NamedTuple):
    """What may follow one word of a program's; the word "" stands for the program itself."""

    word: str
    summary: str
    options: Sequence[argparse.Action]
    #: Words that may follow it.
    words: Sequence[str] = ()


def command(word: str, summary: str, parser: Parser, words: Sequence[str] = ()) -> Command:
    """One that a parser understands."""
    shown = [a for a in parser._actions if a.option_strings and a.help != argparse.SUPPRESS]
    return Command(word, summary, shown, words)


def configure(name: str, parser: Parser) -> None:
    """The shell."""
    parser.epilog = (
        "bash: source <(gflowctl completion bash)\n"
        "zsh:  source <(gflowctl completion zsh)\n"
        "fish: gflowctl completion fish | source"
    )
    parser.add_argument("shell", choices=SHELLS)


def run(name: str, options: argparse.Namespace, session: Session) -> int:
    """Print the script."""
    text = script(options.shell, "gflowctl", _commands())
    if session.as_json:
        session.print_json({"shell": options.shell, "script": text})
    else:
        print(text)
    return 0


#: Words that arguments may be besides others.
_FREE_WORDS = {"report": ["efficiency", "estimates"]}


def script(shell: str, program: str, commands: list[Command]) -> str:
    """The completion script of a program for one of SHELLS."""
    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return make(program, commands[0], commands[1:])


def _commands() -> list[Command]:
    from gflow.cli import main

    leading = Parser(prog="gflowctl")
    leading.add_argument("--version", action="store_true")
    leading.add_argument("--json", action="store_true")
    leading.add_argument("--runtime-dir")
    found = [command("", "", leading, [*main.COMMANDS])]
    for name, (_, summary) in main.COMMANDS.items():
        parser = main.build_parser(name)
        found.append(command(name, summary, parser, _FREE_WORDS.get(name) or _choices(parser)))
    return found


def _choices(parser: argparse.ArgumentParser) -> list[str]:
    """Words that the arguments of a command are chosen from."""
    return [
        str(choice)
        for action in parser._actions
        if not action.option_strings
        for choice in action.choices or ()
    ]


def _words(one: Command) -> str:
    return " ".join(option for action in one.options for option in action.option_strings)


def _bash(program: str, own: Command, commands: list[Command]) -> str:
    cases = []
    for one in (own, *commands):
        choices = [
            f"            {'|'.join(a.option_strings)}) "
            f'COMPREPLY=($(compgen -W "{" ".join(map(str, a.choices))}" -- "$cur")); return;;'
            for a in one.options
            if a.choices
        ]
        cases.append(f"    {one.word or chr(34) * 2})")
        if choices:
            cases += ['        case "$prev" in', *choices, "        esac"]
        words = f'words="{_words(one)}"'
        if one.words:
            words = f'if [[ "$cur" == -* ]]; then {words}; else words="{" ".join(one.words)}"; fi'
        cases.append(f"        {words};;")
    names = "|".join(one.word for one in commands)
    find = [
        '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        f'        case "$word" in {names}) command="$word"; break;; esac',
        "    done",
    ]
    return "\n".join(
        [
            f"_{program}() {{",
            '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
            '    local words="" command="" word',
            *(find if commands else ()),
            '    case "$command" in',
            *cases,
            "    esac",
            '    COMPREPLY=($(compgen -W "$words" -- "$cur"))',
            '    if [[ ${#COMPREPLY[@]} -eq 0 && "$cur" != -* ]]; then',
            '        COMPREPLY=($(compgen -f -- "$cur"))',
            "    fi",
            "}",
            f"complete -o filenames -F _{program} {program}",
        ]
    )


def _zsh(program: str, own: Command, commands: list[Command]) -> str:
    lines = [
        f"#compdef {program}",
        f"_{program}() {{",
        "    local -a commands options",
        "    commands=(",
    ]
    lines += ["        " + _quote(f"{one.word}:{_plain(one.summary)}") for one in commands]
    lines.append("    )")
    if commands:
        lines.append(
            '    if (( CURRENT == 2 )) && [[ "$PREFIX" != -* ]]; '
            "then _describe command commands; return; fi"
        )
    lines.append('    case "${words[2]}" in')
    for one in (*commands, own):
        options = " ".join(
            _quote(f"{option}:{_plain(_help(action))}")
            for action in one.options
            for option in action.option_strings
        )
        lines.append(f"    {one.word or '*'}) options=({options})")
        chosen = [
            f"        {'|'.join(a.option_strings)}) "
            f"compadd {' '.join(map(str, a.choices))}; return;;"
            for a in one.options
            if a.choices
        ]
        if one.word and one.words:
            chosen.append(f"        {one.word}) compadd {' '.join(one.words)}; return;;")
        if chosen:
            lines += ['        case "${words[CURRENT-1]}" in', *chosen, "        esac"]
        lines.append("    ;;")
    lines += [
        "    esac",
        '    if [[ "$PREFIX" == -* ]]; then _describe option options; else _files; fi',
        "}",
        f"compdef _{program} {program}",
    ]
    return "\n".join(lines)


def _fish(program: str, own: Command, commands: list[Command]) -> str:
    lines = []
    for one in (own, *commands):
        where = f"complete -c {program}"
        if one.word:
            lines.append(
                f"{where} -n __fish_use_subcommand -f -a {one.word} -d {_quote(one.summary)}"
            )
            where += f" -n '__fish_seen_subcommand_from {one.word}'"
        elif commands:
            where += " -n __fish_use_subcommand"
        lines += [_fish_option(where, action) for action in one.options]
        if one.word and one.words:
            lines.append(f"{where} -f -a {_quote(' '.join(one.words))}")
    return "\n".join(lines)


def _fish_option(where: str, action: argparse.Action) -> str:
    parts = [where]
    for option in action.option_strings:
        flag = "-l" if option.startswith("--") else "-s"
        parts.append(f"{flag} {option.lstrip('-')}")
    if action.nargs != 0:
        parts.append("-r")
    if action.choices:
        parts.append(f"-f -a {_quote(' '.join(map(str, action.choices)))}")
    return " ".join([*parts, f"-d {_quote(_help(action))}"])


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _plain(text: str) -> str:
    return text.replace(":", "")


def _quote(text: str) -> str:
    return shlex.quote(text)

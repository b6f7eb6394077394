"""``completion``: scripts for bash, zsh and fish, made from the parsers themselves."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

from gflow.cli.command import Parser
from gflow.cli.session import Session

SHELLS = ("bash", "zsh", "fish")


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
    scripts = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    text = scripts[options.shell]()
    if session.as_json:
        session.print_json({"shell": options.shell, "script": text})
    else:
        print(text)
    return 0


def _commands() -> Iterator[tuple[str, str, list[argparse.Action]]]:
    """(command, summary, its options)."""
    from gflow.cli import main

    for name, (_, summary) in main.COMMANDS.items():
        parser = main.build_parser(name)
        actions = [a for a in parser._actions if a.option_strings and a.help != argparse.SUPPRESS]
        yield name, summary, actions


def _bash() -> str:
    commands = list(_commands())
    cases = []
    for name, _, actions in commands:
        words = " ".join(option for action in actions for option in action.option_strings)
        choices = [
            f"            {'|'.join(a.option_strings)}) "
            f'COMPREPLY=($(compgen -W "{" ".join(map(str, a.choices))}" -- "$cur")); return;;'
            for a in actions
            if a.choices
        ]
        chosen = ['        case "$prev" in', *choices, "        esac"] if choices else []
        cases += [f"    {name})", *chosen, f'        words="{words}";;']
    names = " ".join(name for name, _, _ in commands)
    return "\n".join(
        [
            "_gflowctl() {",
            '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
            '    local words="" command="" word',
            '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            '        case "$word" in -*) ;; *) command="$word"; break;; esac',
            "    done",
            '    case "$command" in',
            f'    "") words="{names} --help --version --json --runtime-dir";;',
            *cases,
            "    esac",
            '    if [[ "$command" == completion && "$cur" != -* ]]; then words="'
            + " ".join(SHELLS)
            + '"; fi',
            '    COMPREPLY=($(compgen -W "$words" -- "$cur"))',
            '    if [[ ${#COMPREPLY[@]} -eq 0 && "$cur" != -* ]]; then',
            '        COMPREPLY=($(compgen -f -- "$cur"))',
            "    fi",
            "}",
            "complete -o filenames -F _gflowctl gflowctl",
        ]
    )


def _zsh() -> str:
    lines = [
        "#compdef gflowctl",
        "_gflowctl() {",
        "    local -a commands options",
        "    commands=(",
    ]
    for name, summary, _ in _commands():
        lines.append("        " + _quote(f"{name}:{summary.replace(':', '')}"))
    lines += [
        "    )",
        "    if (( CURRENT == 2 )); then _describe command commands; return; fi",
        '    case "${words[2]}" in',
    ]
    for name, _, actions in _commands():
        options = " ".join(
            _quote(f"{option}:{_help(action).replace(':', '')}")
            for action in actions
            for option in action.option_strings
        )
        lines.append(f"    {name}) options=({options})")
        chosen = [
            f"        {'|'.join(a.option_strings)}) "
            f"compadd {' '.join(map(str, a.choices))}; return;;"
            for a in actions
            if a.choices
        ]
        if name == "completion":
            chosen.append(f"        completion) compadd {' '.join(SHELLS)}; return;;")
        if chosen:
            lines += ['        case "${words[CURRENT-1]}" in', *chosen, "        esac"]
        lines.append("    ;;")
    lines += [
        "    esac",
        '    if [[ "$PREFIX" == -* ]]; then _describe option options; else _files; fi',
        "}",
        "compdef _gflowctl gflowctl",
    ]
    return "\n".join(lines)


def _fish() -> str:
    lines = []
    for name, summary, actions in _commands():
        lines.append(
            f"complete -c gflowctl -n __fish_use_subcommand -f -a {name} -d {_quote(summary)}"
        )
        for action in actions:
            parts = [f"complete -c gflowctl -n '__fish_seen_subcommand_from {name}'"]
            for option in action.option_strings:
                flag = "-l" if option.startswith("--") else "-s"
                parts.append(f"{flag} {option.lstrip('-')}")
            if action.nargs != 0:
                parts.append("-r")
            if action.choices:
                parts.append(f"-f -a {_quote(' '.join(map(str, action.choices)))}")
            parts.append(f"-d {_quote(_help(action))}")
            lines.append(" ".join(parts))
    lines.append(
        "complete -c gflowctl -n '__fish_seen_subcommand_from completion' "
        f"-f -a '{' '.join(SHELLS)}'"
    )
    return "\n".join(lines)


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _quote(text: str) -> str:
    return shlex.quote(text)

"""What every command is made of: a parser that says one sentence, exit codes, failures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from gflow.api.quantity import GrammarError, nearest, quoted
from gflow.cli import rendering

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_SUPERVISOR = 69
EXIT_BUG = 70
EXIT_TRY_LATER = 75

#: More digits than any bound has.
_MOST_DIGITS = 20


class Failure(Exception):
    """A command that cannot go on: one sentence and the exit code."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows the width: argparse would load shutil and two compressors to learn it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=min(100, rendering.screen_width() - 2))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Prose is wrapped where it is too wide; lines with blanks before them are examples."""
        import textwrap

        filled = []
        for block in text.split("\n\n"):
            lines = block.split("\n")
            prose = not any(line.startswith(" ") for line in lines)
            if prose and max(map(len, lines)) > width:
                lines = textwrap.wrap(" ".join(lines), width)
            filled.append("\n".join(indent + line for line in lines))
        return "\n\n".join(filled)


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, with errors of one safe sentence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)
        #: What was wrong with the words; empty: nothing.
        self.complaint = ""

    def error(self, message: str) -> NoReturn:
        """One sentence, exit 2; the nearest option where one is not known."""
        start, _, rest = message.partition("unrecognized arguments: ")
        words = rest.split()
        if not start and words and words[0].startswith("--"):
            known = [word[2:] for word in self._option_string_actions if word.startswith("--")]
            near = nearest(words[0][2:].partition("=")[0], known, cutoff=0.65)
            message += f"; did you mean --{near}?" if near else ""
        self.complaint = message
        print(f"{self.prog}: {rendering.escape(message)}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def written(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A type for argparse whose errors are the grammar's own sentences."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except GrammarError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def whole(low: int, high: int) -> Callable[[str], int]:
    """A type for argparse: a whole number within bounds, in plain digits."""

    def convert(text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise argparse.ArgumentTypeError(f"{quoted(text)} is not a whole number")
        if len(digits) > _MOST_DIGITS or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{quoted(text)} is not from {low} to {high}")
        return int(text)

    return convert

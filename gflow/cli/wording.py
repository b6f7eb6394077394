"""What the words after the options mean: a command, a script, or a line for the shell.

After ``--``: always a command. Otherwise a first word with a slash must exist; an existing text
file is a script, taken as it is now; a single word with blanks or shell characters that names no
file is a line for bash; anything else is a command.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import Any

from gflow.cli.command import EXIT_USAGE, Failure
from gflow.cli.rendering import quoted

_SHELL_CHARACTERS = frozenset(" \t\n|&;<>()$`\\\"'*?[]#~={}!")
_SCRIPT_BYTES = 4 << 20


def interpret(words: list[str]) -> dict[str, Any]:
    """Keys of a spec: ``command``, or ``script``, ``args`` and a default ``name``."""
    if not words:
        raise Failure("there is nothing to run: give a command, a script or -", EXIT_USAGE)
    if words[0] == "--":
        if not words[1:]:
            raise Failure("there is nothing to run after --", EXIT_USAGE)
        return {"command": words[1:]}
    first = words[0]
    if first == "-":
        text = _from_standard_input()
        if text is None or not text.strip():
            raise Failure("standard input holds no script")
        return {"script": text, "args": words[1:], "name": "stdin"}
    script = _read_script(first)
    if script is not None:
        return {"script": script, "args": words[1:], "name": os.path.basename(first)}
    if len(words) == 1 and not os.path.exists(first) and _SHELL_CHARACTERS & set(first):
        return {"command": ["bash", "-c", first]}
    if "/" in first and not os.path.exists(first):
        raise Failure(f"cannot submit {quoted(first)}: there is no such file")
    if "/" in first:
        return {"command": [os.path.abspath(first), *words[1:]]}
    return {"command": words}


def script(path: str) -> str:
    """The text of a script, of a file or (``-``) standard input. Raises Failure."""
    if path == "-":
        return str(interpret(["-"])["script"])
    if not os.path.exists(path):
        raise Failure(f"cannot read {quoted(path)}: there is no such file")
    text = _read_script(path)
    if text is None:
        raise Failure(f"cannot use {quoted(path)}: it is no text file")
    return text


def _from_standard_input() -> str | None:
    try:
        return _script_text(sys.stdin.buffer.read(_SCRIPT_BYTES + 1), "standard input")
    except UnicodeDecodeError:
        raise Failure("cannot submit standard input: it is not UTF-8 text") from None


def _read_script(path: str) -> str | None:
    """The text of a script; None when the word names no text file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with open(fd, "rb") as file:
        head = file.read(8192)
        if b"\0" in head:
            return None
        data = head + file.read(_SCRIPT_BYTES + 1 - len(head))
    try:
        return _script_text(data, path)
    except UnicodeDecodeError:
        if "/" in path and os.access(path, os.X_OK):
            return None  # a program as it is, in whatever encoding
        raise Failure(f"cannot submit {quoted(path)}: it is not UTF-8 text") from None


def _script_text(data: bytes, what: str) -> str | None:
    """None when it is binary. Raises Failure or UnicodeDecodeError."""
    if len(data) > _SCRIPT_BYTES:
        raise Failure(f"cannot submit {quoted(what)}: a script has at most 4 MB")
    return None if b"\0" in data else data.decode()

"""Submitted scripts: written out for one attempt and run by what their first line names."""

from __future__ import annotations

import os
import re
import zlib

_DEFAULT_INTERPRETER = "/bin/bash"
#: The kernel reads this much of a first line (BINPRM_BUF_SIZE, execve(2)).
_FIRST_LINE_BYTES = 256


def write(path: str, blob: bytes, owner: tuple[int, int] | None) -> bytes:
    """Write the script for one attempt, for its owner alone; returns its text.

    ``owner``: uid and gid to give it to; None: it stays ours.
    """
    text = zlib.decompress(blob)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o700)
    except FileNotFoundError:  # the folder was deleted
        os.mkdir(os.path.dirname(path), 0o700)
        fd = os.open(path, flags, 0o700)
    try:
        if owner is not None:
            os.fchown(fd, *owner)
        view = memoryview(text)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    return text


def interpreter(text: bytes) -> list[str] | None:
    """Interpreter and its one argument as the kernel reads them; None: there is no such line.

    A carriage return is a part of them, and often the reason why there is no such interpreter.
    """
    if not text.startswith(b"#!"):
        return None
    line = text[2:_FIRST_LINE_BYTES].partition(b"\n")[0].strip(b" \t")
    if not line:
        return None
    return [os.fsdecode(part) for part in re.split(rb"[ \t]+", line, maxsplit=1)]


def command_line(path: str, text: bytes, args: list[str]) -> list[str]:
    """What runs the script at ``path``: itself if it says how, else bash."""
    if interpreter(text) is None:
        return [_DEFAULT_INTERPRETER, path, *args]
    return [path, *args]


def explicit_command_line(path: str, text: bytes, args: list[str]) -> list[str]:
    """The same where the file cannot be executed (a file system mounted noexec)."""
    return [*(interpreter(text) or [_DEFAULT_INTERPRETER]), path, *args]

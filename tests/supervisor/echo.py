"""A child process for tests: sends back what it gets, with a word in front."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

from gflow.process import child


def main(fd: int, settings: dict[str, Any]) -> None:
    """Echo until the pipe ends."""
    child.begin("echo", (fd,))
    connection = Connection(fd)
    while True:
        try:
            connection.send_bytes(settings["word"].encode() + b" " + connection.recv_bytes())
        except (EOFError, OSError):
            return


if __name__ == "__main__":
    main(*child.arguments())

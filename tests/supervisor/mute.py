"""A persister for tests that opens an empty store and then answers nothing."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

from gflow.persistence import codec
from gflow.process import child


def main(fd: int, settings: dict[str, Any]) -> None:
    """Say that all is loaded, then read and keep silent until the pipe ends."""
    child.begin("mute", (fd,))
    connection = Connection(fd)
    connection.send_bytes(codec.encode_frame("opened"))
    connection.send_bytes(codec.encode_frame("loaded", quarantined=[]))
    while True:
        try:
            connection.recv_bytes()
        except (EOFError, OSError):
            return
        time.sleep(0)


if __name__ == "__main__":
    main(*child.arguments())

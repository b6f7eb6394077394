"""gflow: logger. Writes the supervisor's own log, so that a slow disk never holds a decision up.

The supervisor's end is a non-blocking pipe: when it is full, lines are dropped and counted. The
process writes to a rotated file, or to the journal through standard error where systemd listens.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from typing import Any

from gflow.process import child

_ROTATE_BYTES = 16 << 20
_KEEP_FILES = 4
#: syslog(3) priorities, as systemd reads them from standard error (sd-daemon(3)).
_PRIORITY = {"D": 7, "I": 6, "W": 4, "E": 3, "C": 2}


class PipeHandler(logging.Handler):
    """Formats records to single lines and writes them without ever waiting."""

    def __init__(self) -> None:
        super().__init__()
        self._fd = -1
        #: Lines that found no room, in total and not yet told.
        self.dropped = 0
        self._untold = 0
        self.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
        )

    def attach(self, fd: int) -> None:
        """Write to this descriptor from now on; it must not block."""
        self._fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; traceback lines are kept, joined by a visible mark."""
        line = self.format(record).replace("\n", " | ")
        if self._untold:
            line = f"({self._untold} lines dropped) {line}"
        text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
        try:
            os.write(self._fd, text.encode("utf-8", "backslashreplace")[:4000] + b"\n")
            self._untold = 0
        except OSError:
            self.dropped += 1
            self._untold += 1


def main(fd: int, settings: dict[str, Any]) -> None:
    """Copy lines from ``fd`` to the log until the supervisor is gone.

    settings: ``{"path": file, "journal": bool}``.
    """
    child.begin("logger", (fd,))
    write = _to_journal if settings.get("journal") else _to_file(settings["path"])
    rest = b""
    while data := os.read(fd, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            write(line.decode("utf-8", "replace"))


def _to_journal(line: str) -> None:
    level = line.split(" ", 2)[1:2]
    priority = _PRIORITY.get(level[0][:1] if level else "I", 6)
    try:
        print(f"<{priority}>{line}", file=sys.stderr, flush=True)
    except OSError:
        pass


def _to_file(path: str) -> Any:
    # raiseExceptions off: a full disk must not make this process print about itself.
    logging.raiseExceptions = False
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=_ROTATE_BYTES, backupCount=_KEEP_FILES, encoding="utf-8", delay=True
    )

    def write(line: str) -> None:
        if handler.stream is not None and not _is_at(handler.stream.fileno(), path):
            handler.close()  # it was deleted or moved: what is written now goes into a new one
        handler.emit(logging.LogRecord("gflow", logging.INFO, "", 0, line, None, None))

    return write


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


if __name__ == "__main__":
    main(*child.arguments())

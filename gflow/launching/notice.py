"""Why a job is told to end, in a file that it can read: ``GFLOW_SIGNAL_REASON_FILE``.

Two lines: the reason, such as ``time limit``, and the seconds that are left. The file is not there
before there is a reason, and is replaced whole.
"""

from __future__ import annotations

import os

from gflow.launching.place import remove

#: Tells a job where the file is.
VARIABLE = "GFLOW_SIGNAL_REASON_FILE"


def write(path: str, reason: str, left_s: float, *, public: bool) -> None:
    """Leave the reason at ``path``; ``public``: the job's user is another than this process's.

    A full disk keeps no job from being ended: the reason is missing then.
    """
    beside = f"{path}.new"
    text = f"{reason}\n{left_s:.0f}\n".encode()
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(beside, flags, 0o400)
        try:
            os.write(fd, text)
            if public:
                os.fchmod(fd, 0o444)
        finally:
            os.close(fd)
        os.rename(beside, path)
    except OSError:
        remove(beside)

"""``gflowctl`` from its very first statement: Ctrl-C is an end, never a traceback."""

import os
import sys
from signal import SIG_DFL, SIG_IGN, SIGINT, getsignal, signal


def main() -> int:
    """The exit code of the command.

    While the rest is imported, and once there is an answer, Ctrl-C ends the process as it would any
    other; in between it is the command's (``gflow.cli.main``). Arguments, paths and variables are
    UTF-8 whatever the locale says: Python is started once more where it would read them otherwise.
    """
    if getsignal(SIGINT) is not SIG_IGN:
        signal(SIGINT, SIG_DFL)
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    from gflow.cli.main import main as run

    try:
        return run()
    finally:
        if getsignal(SIGINT) is not SIG_IGN:
            signal(SIGINT, SIG_DFL)

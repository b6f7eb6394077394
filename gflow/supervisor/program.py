"""``gflow-supervisor`` from its very first statement: Ctrl-C is an end, never a traceback."""

from signal import SIG_DFL, SIGINT, signal
from typing import NoReturn


def main() -> NoReturn:
    """The program. Until the loop can end it orderly, Ctrl-C ends it as SIGTERM does: at once."""
    signal(SIGINT, SIG_DFL)
    from gflow.supervisor.main import main as run

    run()

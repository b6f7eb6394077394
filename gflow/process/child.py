"""How a process of ours begins.

A child of the supervisor must never act on signals meant for its parent: a terminal's Ctrl-C, or,
on Python 3.11, a byte in the wake-up descriptor that it shares with its parent's event loop after a
fork. So the first statements of every child are those of :func:`begin`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import PathFinder
from typing import Any, NoReturn

#: What processes of ours say to each other; another number with every change to the shape of a
#: frame or setting. A supervisor outlives an upgrade: a child that begins then may speak otherwise.
PROTOCOL = 2
#: Exit code of a child that was called in another protocol.
OTHER_PROTOCOL = 78

#: Signals that a service process ignores: only EOF, the sentinel or SIGKILL end it.
SHIELDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGALRM,
)


def begin(title: str, keep_fds: Iterable[int] = ()) -> None:
    """Become a process of its own: own session, own title, shielded, only the given descriptors.

    Standard input becomes /dev/null; standard output and error stay. ``keep_fds`` stay as they are.
    """
    if os.getpid() != os.getsid(0):
        os.setsid()
    signal.set_wakeup_fd(-1)
    for number in SHIELDED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _stop_perf_map()
    close_fds_except((0, 1, 2, *keep_fds))
    null = os.open(os.devnull, os.O_RDONLY)
    if null != 0:
        os.dup2(null, 0)
        os.close(null)
    os.chdir("/")
    set_title(title)


def _stop_perf_map() -> None:
    """With PYTHONPERFSUPPORT the interpreter writes to a descriptor of its own, by its number.

    It is closed here with the others, and what gets that number next may be the store (Python 3.12,
    sys.deactivate_stack_trampoline).
    """
    stop = getattr(sys, "deactivate_stack_trampoline", None)
    if stop is not None:
        stop()


def words(fd: int, settings: dict[str, Any]) -> list[str]:
    """The command line of a process that is born by exec."""
    return [
        *("--fd", str(fd)),
        *("--protocol", str(PROTOCOL)),
        *("--settings", json.dumps(settings)),
    ]


def arguments() -> tuple[int, dict[str, Any]]:
    """Descriptor and settings of a process born by exec; ends it where the protocols differ."""
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    if given["--protocol"] != str(PROTOCOL):
        sys.exit(OTHER_PROTOCOL)
    return int(given["--fd"]), json.loads(given["--settings"])


def start_afresh(
    module: str, function: str, fd: int, settings: dict[str, Any], keep_fds: Iterable[int]
) -> NoReturn:
    """Go on as a fresh interpreter that calls ``module.function(fd, settings)`` and nothing else.

    For processes that must stay small, whatever their parent had loaded before it forked them.
    ``fd`` and ``keep_fds`` keep their numbers.
    """
    for kept in (fd, *keep_fds):
        os.set_inheritable(kept, True)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    code = f"from {module} import {function}, child; {function}(*child.arguments())"
    line = [sys.executable, "-P", "-c", code, *words(fd, settings)]
    os.execve(sys.executable, line, {**os.environ, "PYTHONPATH": path})


def set_title(title: str) -> None:
    """Show ``gflow: <title>`` in ps."""
    _set_title(f"gflow: {title}")


def _load_title_setter() -> Callable[[str], None]:
    """setproctitle's C part alone: its package loads ``logging`` and with it what every later fork
    has to repair in the child (150 page faults, a fifth of a shim's start).
    """
    package = PathFinder.find_spec("setproctitle")
    folders = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec("_setproctitle", folders) if folders else None
    if spec is None or spec.loader is None:
        return lambda title: None
    module = spec.loader.create_module(spec)
    assert module is not None
    spec.loader.exec_module(module)
    setter: Callable[[str], None] = module.setproctitle
    return setter


_set_title = _load_title_setter()


def close_fds_except(keep: Iterable[int]) -> None:
    """Close every descriptor that is not in ``keep`` (close_range(2) between them)."""
    low = 0
    for fd in sorted(set(keep)):
        if fd > low:
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))

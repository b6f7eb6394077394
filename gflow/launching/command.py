"""Starting the command: what stands between an order and a running program."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Callable
from typing import NoReturn

from gflow.launching import oom, output, privilege, relay, script, spawn
from gflow.launching.order import Order

#: The machine was short of something: tried again later, whatever the job is.
TRANSIENT = frozenset(
    (
        errno.EAGAIN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ETXTBSY,
        errno.EINTR,
    )
)

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
#: As JSON: a report has to fit into PIPE_BUF (4,096 bytes).
_LONGEST_MESSAGE_BYTES = 2000


class CannotStart(Exception):
    """The command does not run. The message is for people, in the operating system's words.

    ``transient``: the machine was short of something. ``hold``: not before an administrator had a
    look.
    """

    def __init__(self, message: str, *, transient: bool = False, hold: bool = False) -> None:
        super().__init__(_shorten(message))
        self.transient = transient
        self.hold = hold

    @classmethod
    def because_of(cls, error: OSError | ValueError) -> CannotStart:
        """From what a system call said, with the path that it is about."""
        if not isinstance(error, OSError):
            return cls(f"cannot start: {error}")
        text = os.strerror(error.errno) if error.errno else str(error)
        path = error.filename
        if path is not None:
            name = os.fsdecode(path) or "''"
            text = f"{name}: {_missing_interpreter(name, error)}{text}"
        return cls(f"cannot start: {text}", transient=error.errno in TRANSIENT)


def _shorten(message: str) -> str:
    while len(json.dumps(message)) > _LONGEST_MESSAGE_BYTES:
        message = f"{message[: len(message) * 3 // 4]}…"
    return message


class Program:
    """What exec is called with, and what to try where it may not execute the file itself."""

    __slots__ = ("argv", "environment", "fallback")

    def __init__(
        self, argv: list[str], environment: dict[str, str], fallback: list[str] | None = None
    ) -> None:
        self.argv = argv
        self.environment = environment
        self.fallback = fallback


def prepare(
    order: Order, environment: dict[str, str], spool_path: str, conditions: Conditions
) -> Program:
    """The program of an order; a script is written to ``spool_path``. Raises OSError."""
    if order.script is None:
        return Program([*order.command, *order.args], environment)
    owner = (order.uid, order.gid) if conditions.changes_user(order) else None
    text = script.write(spool_path, order.script, owner)
    return Program(
        script.command_line(spool_path, text, order.args),
        environment,
        script.explicit_command_line(spool_path, text, order.args),
    )


class Conditions:
    """What the launcher knows and every command is started under."""

    __slots__ = ("affinity", "files_limit", "oom_kills", "signals", "system")

    def __init__(
        self, files_limit: tuple[int, int], affinity: list[int] | None, *, system: bool
    ) -> None:
        #: Commands run as their submitters, not as the user of this process.
        self.system = system
        #: RLIMIT_NOFILE as it was before the launcher raised its own.
        self.files_limit = files_limit
        #: Processors by cpu id of the scheduler; None: commands are not bound to any.
        self.affinity = affinity
        #: Processes that the kernel has killed for memory so far; None: not known.
        self.oom_kills = oom.kills()
        #: Signals that are not at their default in this process.
        self.signals = [
            number
            for number in signal.valid_signals()
            if signal.getsignal(number) not in (signal.SIG_DFL, None)
        ]

    def changes_user(self, order: Order) -> bool:
        """Whether the command is to run as somebody else."""
        return self.system and order.uid != os.getuid()


def start(
    order: Order,
    program: Program,
    open_log: Callable[[], int | None],
    conditions: Conditions,
    device: str | None = None,
) -> int:
    """Start the program in a session of its own, as the order says; its pid. Raises CannotStart.

    ``open_log``: a descriptor for its output; None when the order names files. ``device``: the
    terminal that it gets instead.

    What only the command itself may have (limits, niceness, another user) takes a fork whose child
    sets it up and then calls exec; posix_spawn, which copies no memory, does for all others (1.4
    times as many starts per second).
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, conditions.files_limit)
    if conditions.affinity:
        _bind(order.cpu_ids, conditions.affinity)
    try:
        if _needs_fork(order, conditions):
            return _fork(order, program, open_log, conditions, device)
        log = None if device else open_log()
        out, error, path = _enter(order, program, log, device)
        return _spawn(path, program, out, error, device)
    except (OSError, ValueError) as problem:
        raise CannotStart.because_of(problem) from None


def _needs_fork(order: Order, conditions: Conditions) -> bool:
    if conditions.changes_user(order):
        return True
    if order.nice is not None and order.nice != os.getpriority(os.PRIO_PROCESS, 0):
        return True
    return any(
        resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) != (soft, hard)
        for name, soft, hard in order.rlimits
    )


def _enter(
    order: Order, program: Program, log: int | None, device: str | None
) -> tuple[int, int, str]:
    """Go where the job is to run; descriptors for its output, and the file to execute.

    With a terminal the descriptors are those of ``device`` as standard input. From here on new
    files obey the job's umask.
    """
    os.chdir(order.cwd)
    if order.umask is not None:
        os.umask(order.umask)
    if device:
        out = error = 0
    else:
        out, error = output.open_both(order, log)
    if order.max_output_bytes and not device:
        out, error = relay.interpose(out, error, order.max_output_bytes, f"output of {order.title}")
    return out, error, find(program.argv[0], program.environment.get("PATH", _DEFAULT_PATH))


def _spawn(path: str, program: Program, out: int, error: int, device: str | None) -> int:
    try:
        return spawn.spawn(path, program.argv, program.environment, out, error, device)
    except PermissionError:
        if program.fallback is None:
            raise
        argv = program.fallback
        return spawn.spawn(argv[0], argv, program.environment, out, error, device)
    finally:
        for fd in {out, error} - {0}:
            os.close(fd)


def _fork(
    order: Order,
    program: Program,
    open_log: Callable[[], int | None],
    conditions: Conditions,
    device: str | None,
) -> int:
    told, tell = os.pipe()
    parent = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _become(order, program, open_log, conditions, device, tell, parent)
    finally:
        os.close(tell)
    with os.fdopen(told, "rb") as file:
        words = file.read()
    if words:
        os.waitpid(pid, 0)
        message, transient = json.loads(words)
        raise CannotStart(message, transient=transient)
    return pid


def _become(
    order: Order,
    program: Program,
    open_log: Callable[[], int | None],
    conditions: Conditions,
    device: str | None,
    tell: int,
    parent: int,
) -> NoReturn:
    """In the child: everything up to exec. What goes wrong is told through ``tell``."""
    try:
        os.setsid()
        log = None
        if device:
            os.dup2(os.open(device, os.O_RDWR), 0)  # of a session's leader: its terminal now
        else:
            log = open_log()
        if conditions.changes_user(order):
            if log is not None:
                os.fchown(log, order.uid, order.gid)
            privilege.become(order.user, order.uid, order.gid)
        _set_niceness(order.nice)
        out, error, path = _enter(order, program, log, device)
        null = 0 if device else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for source, target in ((null, 0), (out, 1), (error, 2)):
            os.dup2(source, target)
        for number in conditions.signals:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _set_limits(order.rlimits)
        if os.getppid() == parent:  # else the attempt is over: its shim was killed meanwhile
            _execute(path, program)
    except (OSError, ValueError) as problem:
        _tell(tell, CannotStart.because_of(problem))
    except BaseException as problem:
        _tell(tell, CannotStart(f"cannot start: {problem!r}"))
    finally:
        os._exit(127)


def _execute(path: str, program: Program) -> NoReturn:
    try:
        os.execve(path, program.argv, program.environment)
    except PermissionError:
        if program.fallback is None:
            raise
    os.execve(program.fallback[0], program.fallback, program.environment)


def find(name: str, search_path: str) -> str:
    """The file that exec is to run, as execvp(3) looks for it. Raises OSError naming ``name``."""
    if "/" in name:
        return name
    problem = errno.ENOENT
    for folder in search_path.split(":") if name else ():
        path = f"{folder or '.'}/{name}"
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
        if os.path.isfile(path):
            problem = errno.EACCES
    raise OSError(problem, os.strerror(problem), name)


def _missing_interpreter(path: str, error: OSError) -> str:
    """``bad interpreter: …: `` when exec said ENOENT although the file is there."""
    if error.errno != errno.ENOENT:
        return ""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = script.interpreter(os.read(fd, 256))
    except OSError:
        return ""
    finally:
        os.close(fd)
    return f"bad interpreter: {parts[0]}: " if parts else ""


def _tell(fd: int, error: CannotStart) -> None:
    os.write(fd, json.dumps([str(error), error.transient]).encode())


def _set_niceness(nice: int | None) -> None:
    if nice is None:
        return
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:
        pass  # the submitter was favoured beyond what the scheduler may give: run as it does


def _set_limits(limits: list[tuple[str, int, int]]) -> None:
    for name, soft, hard in limits:
        number = getattr(resource, f"RLIMIT_{name}")
        _, allowed = resource.getrlimit(number)
        try:
            resource.setrlimit(number, (soft, hard))
        except (PermissionError, ValueError):
            # A hard limit cannot be raised: as close as the launcher's own allows.
            resource.setrlimit(number, (_lower(soft, allowed), _lower(hard, allowed)))


def _lower(wanted: int, allowed: int) -> int:
    if allowed == resource.RLIM_INFINITY:
        return wanted
    return allowed if wanted == resource.RLIM_INFINITY else min(wanted, allowed)


def _bind(cpu_ids: list[int], affinity: list[int]) -> None:
    """Run on the processors that these ids stand for; ids beyond the machine's bind to nothing."""
    processors = {affinity[cpu_id] for cpu_id in cpu_ids if cpu_id < len(affinity)}
    os.sched_setaffinity(0, processors or affinity)

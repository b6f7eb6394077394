"""gflow-supervisor: folders, locks, children; only then the loop and everything it needs.

The order matters. The children are forked while this process is small and knows nothing: a launcher
of 10 MB forks a shim in a third of the time that one of 38 MB takes. So their modules, and after
them the reactor, are imported here, late, one after the other.
"""

from __future__ import annotations

import argparse
import errno
import logging
import multiprocessing
import os
import pwd
import resource
import signal
import sys
import time
from typing import Any, NoReturn

import gflow
from gflow import config as configuration
from gflow.config import Config
from gflow.errors import ConfigError, StoreError
from gflow.persistence import lock
from gflow.process import child as process
from gflow.supervisor.child import Child, Main
from gflow.supervisor.folder import Folders, prepare
from gflow.supervisor.logger import PipeHandler
from gflow.supervisor.notify import notify

log = logging.getLogger("gflow")

_LOCK_NAME = "supervisor.lock"
_SIGN_S = 1.0
#: How long systemd may wait for the next sign (sd_notify(3), EXTEND_TIMEOUT_USEC).
_PATIENCE_USEC = 30_000_000


def parser() -> argparse.ArgumentParser:
    """Options of the program."""
    made = argparse.ArgumentParser(
        prog="gflow-supervisor",
        description="Queues, places, starts, watches and remembers jobs. Runs in the foreground; "
        "SIGTERM and SIGINT end it orderly (jobs live on), SIGHUP reads the configuration again.",
        epilog="exit codes: 0 ended orderly; 1 refused to start, or some changes were not saved; "
        "2 wrong options; 70 a bug",
    )
    made.add_argument("--version", action="version", version=f"gflow {gflow.__version__}")
    made.add_argument("--state-dir", metavar="DIR", help="folder of store, logs and run files")
    made.add_argument("--runtime-dir", metavar="DIR", help="folder of the socket")
    made.add_argument("--config", metavar="FILE", help="read this configuration file alone")
    made.add_argument(
        "--system", action="store_true", help="serve all users of this machine (needs root)"
    )
    made.add_argument(
        "--gflow-api",
        action="store_true",
        help="serve the older HTTP API on loopback too ([http] gflow_api)",
    )
    made.add_argument(
        "--init-empty",
        action="store_true",
        help="start with an empty store although there has been one",
    )
    made.add_argument(
        "--take-over",
        action="store_true",
        help="use a state folder that belongs to another machine",
    )
    made.add_argument("--ready-fd", type=int, metavar="N", help=argparse.SUPPRESS)
    return made


def main(arguments: list[str] | None = None) -> NoReturn:
    """The program. Does not return."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an exception could come out of anywhere
    options = parser().parse_args(arguments)
    tell = _Teller(options.ready_fd)
    try:
        code = _run(options, tell)
    except (ConfigError, StoreError, lock.LockHeld) as error:
        tell.failed(str(error))
        code = 1
    except OSError as error:
        tell.failed(f"cannot start: {_cause(error)}")
        code = 1
    except Exception:
        log.critical("a bug", exc_info=True)
        tell.failed("cannot go on: this is a bug; the supervisor's log has the details")
        code = 70
    # Not sys.exit: multiprocessing would wait for children that are not ours to wait for.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _cause(error: OSError) -> str:
    """What failed, and what to do when it is the disk that takes nothing."""
    cause = error.strerror or str(error)
    if error.filename is not None:
        cause = f"{os.fsdecode(error.filename)}: {cause}"
    if error.errno == errno.EROFS:
        cause += " (have it mounted for writing, or choose another folder with --state-dir)"
    return cause


class _Teller:
    """Says once, to whoever waits, that the supervisor is ready or why it is not."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._told_s = time.monotonic()
        if fd is not None:
            os.set_inheritable(fd, False)

    def ready(self, line: str) -> None:
        """One line on standard output; the pid to the one who started us."""
        print(line, flush=True)
        self._tell(f"ready {os.getpid()}\n")

    def loading(self, what: str) -> None:
        """A sign of life, to whoever waits and to systemd; at most one a second."""
        now_s = time.monotonic()
        if now_s - self._told_s < _SIGN_S:
            return
        self._told_s = now_s
        notify(f"STATUS={what}\nEXTEND_TIMEOUT_USEC={_PATIENCE_USEC}")
        if self._fd is not None:
            try:
                os.write(self._fd, b"loading\n")
            except OSError:
                pass  # nobody waits any more

    def failed(self, sentence: str) -> None:
        """One sentence on standard error, and to the one who started us."""
        print(f"gflow-supervisor: {sentence}", file=sys.stderr, flush=True)
        self._tell(f"{sentence}\n")

    def _tell(self, text: str) -> None:
        if self._fd is not None:
            try:
                os.write(self._fd, text.encode())
            except OSError:
                pass  # nobody waits any more
            os.close(self._fd)
            self._fd = None


def _run(options: argparse.Namespace, tell: _Teller) -> int:
    os.umask(0o077)
    _complete_environment()
    flags: dict[str, dict[str, Any]] = {}
    if options.config is not None:
        os.environ["GFLOW_CONFIG"] = options.config
    if options.system:
        flags["access"] = {"mode": "system"}
    if options.gflow_api:
        flags["http"] = {"gflow_api": True}
    config = configuration.load(flags=flags)
    system = config["access"]["mode"] == "system"
    if system and os.getuid() != 0:
        raise ConfigError("cannot serve all users: system mode needs root")
    folders = prepare(
        options.state_dir,
        options.runtime_dir,
        system=system,
        insist_on_network=config["persistence"]["network_filesystem"] == "insist",
    )
    process.set_title("supervisor")
    # Kept open as long as we live; the folder's is shared by children and newborn shims.
    locks = [lock.take_file(os.path.join(folders.state, _LOCK_NAME))]
    locks.append(lock.take_folder(folders.runtime, wait_s=0.0))
    folder_lock = lock.take_folder(folders.state, say=_say)
    handler = PipeHandler()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    children = _bear(options, config, folders, folder_lock, handler)
    for note in config.notes:
        log.info("%s", note)

    from gflow.supervisor import service

    return service.run(config, flags, folders, children, tell.ready, tell.loading)


def _complete_environment() -> None:
    """What a login would have set: a job without an environment of its own gets ours."""
    os.environ.setdefault("LANG", "C.UTF-8")
    if all(os.environ.get(name) for name in ("HOME", "USER", "SHELL")):
        return
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return  # nobody knows this user: nothing to say
    login = {"HOME": entry.pw_dir, "USER": entry.pw_name, "SHELL": entry.pw_shell or "/bin/sh"}
    for name, value in login.items():
        os.environ[name] = os.environ.get(name) or value


def _say(sentence: str) -> None:
    print(f"gflow-supervisor: {sentence}", file=sys.stderr, flush=True)


def _bear(
    options: argparse.Namespace,
    config: Config,
    folders: Folders,
    folder_lock: int,
    handler: PipeHandler,
) -> dict[str, Child]:
    """Fork the children, the launcher first: it must be the smallest."""
    context = multiprocessing.get_context("fork")
    system = config["access"]["mode"] == "system"
    children: dict[str, Child] = {}

    def bear(name: str, main: Main, settings: dict[str, Any], *keep_fds: int) -> None:
        children[name] = Child(name, main, settings, keep_fds)
        children[name].fork(context)

    from gflow.launching import launcher

    bear(
        "launcher",
        launcher.main,
        {
            "state_dir": folders.state,
            "lock_fd": folder_lock,
            "cpu_affinity": config["scheduler"]["cpu_affinity"],
            "system": system,
            # Submitters must be able to reach their scripts; nobody else's folder is that.
            "spool_dir": folders.spool if system else None,
            # Ours is raised later: a launcher that replaces this one must not hand that on.
            "files_limit": resource.getrlimit(resource.RLIMIT_NOFILE),
        },
        folder_lock,
    )

    from gflow.supervisor import logger

    journal = bool(os.environ.get("JOURNAL_STREAM"))
    path = os.path.join(folders.state, "supervisor.log")
    bear("logger", logger.main, {"path": path, "journal": journal})
    channel = children["logger"].channel
    assert channel is not None
    handler.attach(channel.fileno())

    from gflow.persistence import persister

    persistence, scheduler = config["persistence"], config["scheduler"]
    bear(
        "persister",
        persister.main,
        {
            "state_dir": folders.state,
            "folder_is_new": folders.new,
            "init_empty": options.init_empty,
            "take_over": options.take_over,
            "network": folders.network,
            "relaxed": persistence["durability"] == "relaxed",
            "keep_finished_s": scheduler["keep_finished_s"],
            "keep_finished": scheduler["keep_finished_count"],
            "keep_history_s": persistence["keep_history_s"],
            "lock_fds": [folder_lock],
        },
        folder_lock,
    )

    from gflow.monitoring import monitor

    interval = {"interval_s": config["monitor"]["interval_s"]}
    bear("monitor", monitor.main, interval)
    if config["gpus"]["count"] is None:
        from gflow.monitoring import gpu

        bear("gpu", gpu.main, interval)
    return children


if __name__ == "__main__":
    main()

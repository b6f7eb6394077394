"""The life of the loop: load, recover, serve, reload, end."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import pwd
import resource
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import gflow
from gflow import config as configuration
from gflow.api import surroundings
from gflow.api.server import Limits, Server
from gflow.compat.listener import CompatServer, bind
from gflow.config import Config
from gflow.errors import ConfigError, Refused
from gflow.launching import request
from gflow.model.event import Ready, Wake
from gflow.model.state import ACTIVE
from gflow.process import identity
from gflow.scheduling.scheduler import Scheduler
from gflow.supervisor.child import Child
from gflow.supervisor.folder import Folders
from gflow.supervisor.forecaster import Forecaster
from gflow.supervisor.loop import new_loop
from gflow.supervisor.machine import capacity, scheduler_settings
from gflow.supervisor.notify import notify
from gflow.supervisor.operations import SupervisorOperations
from gflow.supervisor.reactor import Reactor

log = logging.getLogger("gflow")

#: The collector looks at the young generations only; what lives on is frozen out of its sight.
_COLLECT = (5_000, 20, 1_000_000)
#: Signals that say nothing to us, and would end a process by default.
_MEANINGLESS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
#: How often the socket is looked for; somebody may delete it.
_SOCKET_CHECK_S = 5.0
#: A driver that takes longer to say which cards there are keeps nobody waiting: gpus are unknown.
_CARDS_PATIENCE_S = 2.0
#: Tables whose changes need a restart.
_RESTART = ("persistence", "monitor", "access", "http")
#: Keys of other tables that do so too.
_RESTART_KEYS = {
    "scheduler": ("priority_weight", "fair_share_weight", "project_share_weight", "age_weight")
}


def run(
    config: Config,
    flags: dict[str, dict[str, Any]],
    folders: Folders,
    children: dict[str, Child],
    ready: Callable[[str], None],
    loading: Callable[[str], None],
) -> int:
    """Run until SIGTERM or SIGINT; the exit code. ``ready`` gets the one line to print.

    ``loading`` gets, again and again, what the load is about. Raises StoreError when the store
    cannot be opened.
    """
    early = EarlyEnd()
    inherited = surroundings.limits()
    # First of all: a port that somebody else has is a reason not to start.
    loopback = bind(config["http"]["listen"]) if config["http"]["gflow_api"] else []
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor per client
    loop, meter = new_loop()
    found = capacity(config, asked="gpu" in children)
    scheduler = Scheduler(scheduler_settings(config), found, identity.boot_id())
    start_id = f"{int(time.time() * 1000):x}"
    reactor = Reactor(loop, meter, scheduler, config, folders, children, start_id)
    reactor.directory.names[os.getuid()] = _own_name()
    reactor.persister.on_loading = loading
    gc.disable()  # or it looks again and again at what is only getting more
    reactor.load()
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(*_COLLECT)
    return loop.run_until_complete(Service(reactor, flags, inherited, loopback).live(ready, early))


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


class EarlyEnd:
    """A SIGTERM or SIGINT that comes while the state is loaded: kept for the loop.

    The same signal once more ends the process at once.
    """

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, _: object) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)


class Service:
    """What the program does between its first and its last line."""

    def __init__(
        self,
        reactor: Reactor,
        flags: dict[str, dict[str, Any]],
        inherited: frozenset[surroundings.Limit],
        loopback: Sequence[socket.socket] = (),
    ) -> None:
        self._reactor = reactor
        self._flags = flags
        self._ending = asyncio.Event()
        self._reloading: asyncio.Task[None] | None = None
        config = reactor.config
        self._operations = SupervisorOperations(reactor)
        limits = Limits(
            connections=config["limits"]["connections"],
            array_tasks=config["limits"]["max_array_tasks"],
            inherited=inherited,
            pty=config["executor"]["type"] == "tmux",
        )
        system = config["access"]["mode"] == "system"
        allowed_uids = None if system else frozenset((0, os.getuid()))

        def complain(text: str) -> None:
            log.error("%s", text)

        self._server = Server(
            self._operations, log=complain, limits=limits, allowed_uids=allowed_uids
        )
        #: Serves the reference's API; None: it is off.
        self._compat: CompatServer | None = None
        self._loopback = loopback
        if loopback:
            self._compat = CompatServer(
                self._operations,
                log=complain,
                limits=limits,
                allowed_uids=allowed_uids,
                gpu_strategy=config["gpus"]["strategy"],
            )
        self._socket_inode = 0

    async def live(self, ready: Callable[[str], None], early: EarlyEnd) -> int:
        """Recover, serve, end; the exit code."""
        reactor = self._reactor
        for number in _MEANINGLESS:
            signal.signal(number, signal.SIG_IGN)
        reactor.loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        reactor.loop.add_signal_handler(signal.SIGINT, self._ending.set)
        if early.asked:
            self._ending.set()
        reactor.loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        reactor.attach()
        await reactor.attempts.recovered()
        self._operations.remember()
        if reactor.gpu is not None:
            await reactor.gpu.first_answer(_CARDS_PATIENCE_S)
        reactor.step(Ready())
        await self._first_ids()
        await self._server.start(self._bind())
        if self._compat is not None:
            await self._compat.start(self._loopback)
        line = self._ready_line()
        log.info("%s", line)
        reactor.meter.take()  # what load and recovery took is no gap that anybody waited for
        ready(line)
        notify("READY=1")
        beside = [
            asyncio.ensure_future(task)
            for task in (self._keep_socket(), self._learn(), Forecaster(reactor).run())
        ]
        await self._ending.wait()
        for task in beside:
            task.cancel()
        return await self._end()

    async def _first_ids(self) -> None:
        """Ready means that jobs can be submitted; but a stuck disk keeps nobody from looking."""
        try:
            await self._reactor.ids.reserve(1)
        except Refused as error:
            log.error("%s", error)

    async def _learn(self) -> None:
        try:
            await self._reactor.habits.learn(self._reactor.persister)
        except Refused as error:
            log.warning("what commands used before is not known: %s", error)

    def _ready_line(self) -> str:
        counts = self._reactor.scheduler.counts()
        running = sum(counts[state] for state in ACTIVE)
        waiting = counts.get(next(iter(counts)), 0)
        folders = self._reactor.folders
        return (
            f"gflow-supervisor {gflow.__version__} is ready (pid {os.getpid()}, "
            f"{running} running, {waiting} pending, socket {folders.socket})"
        )

    # --- the socket -----------------------------------------------------------------------------

    def _bind(self) -> socket.socket:
        """The socket under its name at last: bound beside it, then renamed."""
        path = self._reactor.folders.socket
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        temporary = f"{path}.new"
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        made.bind(temporary)
        if self._reactor.config["access"]["mode"] == "system":
            os.chmod(temporary, 0o666)
        self._socket_inode = os.stat(temporary).st_ino
        try:
            os.rename(temporary, path)
        except IsADirectoryError:
            os.rename(path, f"{path}.displaced")
            os.rename(temporary, path)
        return made

    async def _keep_socket(self) -> None:
        """Make the socket again when somebody deleted or replaced it."""
        path = self._reactor.folders.socket
        while True:
            await asyncio.sleep(_SOCKET_CHECK_S)
            try:
                facts, _ = await self._reactor.launcher.read(
                    lambda number: request.read_status(number, path)
                )
                missing = facts["inode"] != self._socket_inode
            except Refused as error:
                missing = error.kind == Refused.NOT_FOUND
            if missing:
                await self._bind_again()

    async def _bind_again(self) -> None:
        folders = self._reactor.folders
        try:
            os.makedirs(folders.runtime, mode=0o700, exist_ok=True)
            await self._server.listen(self._bind())
            log.warning("%s was gone: made again", folders.socket)
        except OSError as error:
            log.error("cannot make %s again: %s", folders.socket, error)

    # --- the configuration ----------------------------------------------------------------------

    def _on_hangup(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        """Read the configuration again, through a reader; a wrong one changes nothing."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            texts = await self._read_config()
            config = configuration.load(flags=self._flags, texts=texts)
        except (ConfigError, Refused) as error:
            log.error("the configuration stays as it was: %s", error)
        else:
            self._apply(config)
        notify("READY=1")

    async def _read_config(self) -> dict[str, str]:
        texts = {}
        for path in configuration.config_files():
            try:
                _, content = await self._reactor.launcher.read(
                    lambda number, path=path: request.read_file(number, path)  # type: ignore[misc]
                )
            except Refused as error:
                if error.kind == Refused.NOT_FOUND:
                    continue
                raise
            try:
                texts[path] = content.decode()
            except UnicodeDecodeError as error:
                raise ConfigError(f"cannot read configuration {path}: {error}") from None
        return texts

    def _apply(self, config: Config) -> None:
        reactor = self._reactor
        old, new = reactor.config.as_dict(), config.as_dict()
        fixed = {**{table: (*new[table],) for table in _RESTART}, **_RESTART_KEYS}
        for table, keys in fixed.items():
            for key in keys:
                if new[table][key] != old[table][key]:
                    log.warning("%s.%s changes with the next start only", table, key)
                    config[table][key] = old[table][key]
        reactor.config = config
        reactor.blobs.limit_bytes = config["limits"]["blob_bytes"]
        reactor.cards.configure(config["gpus"])
        reactor.monitor.claim(reactor.cards.to_claim())
        reactor.observer.idle.configure(config["gpus"])
        reactor.scheduler.configure(scheduler_settings(config, reactor.cards.topology))
        reactor.count_again(capacity(config, asked=reactor.gpu is not None))
        reactor.step(Wake())
        log.info("the configuration was read again")

    # --- the end --------------------------------------------------------------------------------

    async def _end(self) -> int:
        """An orderly end: no more requests, everything saved, children gone; jobs live on."""
        notify("STOPPING=1")
        log.info("ending: jobs live on")
        await self._server.close()
        if self._compat is not None:
            await self._compat.close()
        unsaved = await self._reactor.close()
        self._leave_word(unsaved)
        self._unlink_socket()
        if unsaved:
            log.error("%d changes were not saved", unsaved)
            print(f"gflow-supervisor: {unsaved} changes were not saved", flush=True)
            return 1
        log.info("ended: everything is saved")
        return 0

    def _leave_word(self, unsaved: int) -> None:
        """Tell ``gflowctl stop``, which is not our parent, how it went."""
        try:
            with open(os.path.join(self._reactor.folders.runtime, "last-end"), "w") as file:
                json.dump({"pid": os.getpid(), "unsaved": unsaved}, file)
        except OSError as error:
            log.error("cannot leave word of our end: %s", error)

    def _unlink_socket(self) -> None:
        path = self._reactor.folders.socket
        try:
            if os.stat(path).st_ino == self._socket_inode:
                os.unlink(path)
        except OSError:
            pass

"""``gflowd``: start and stop the supervisor, with the older API on."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from gflow.api.client import Client
from gflow.api.wire import Unreachable
from gflow.cli import spawning, stopping
from gflow.cli.classic import initial, unit
from gflow.cli.command import Failure, Parser
from gflow.cli.session import Session

COMMANDS = {
    "start": "start it in the background (also: up)",
    "stop": "end it; running jobs live on (also: down)",
    "restart": "stop, then start",
    "reload": "stop, then start: running jobs live on",
    "status": "whether it runs",
    "init": "write a gflow.toml to begin with",
    "service": "install or uninstall it as a user's service of systemd",
}
#: Options of start and restart, as the variables that say the same.
_OVERRIDES = {
    "--gpus": "GFLOW_DAEMON__GPUS",
    "--gpu-allocation-strategy": "GFLOW_DAEMON__GPU_ALLOCATION_STRATEGY",
    "--gpu-poll-interval-secs": "GFLOW_DAEMON__GPU_POLL_INTERVAL_SECS",
}
_OVERRIDE_HELP = {
    "--gpus": "only these cards: 0,2",
    "--gpu-allocation-strategy": "sequential or random",
    "--gpu-poll-interval-secs": "means nothing here: cards are looked at when jobs leave them",
}
_ALIASES = {"up": "start", "down": "stop"}


def run(words: list[str]) -> int:
    """The command; without one the supervisor runs in the foreground."""
    while words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        words = words[1:]  # verbosity: the supervisor's log is as long as it is
    if not words:
        _become_supervisor()
    name = _ALIASES.get(words[0], words[0])
    if name in ("-h", "--help", "help"):
        print("usage: gflowd [COMMAND]\n")
        print("\n".join(f"  {one:<8} {what}" for one, what in COMMANDS.items()))
        return 0
    if name not in COMMANDS:
        raise Failure(f"unrecognized subcommand '{name}'; see gflowd --help", 2)
    options = parser(name).parse_args(words[1:])
    if name == "init":
        return initial.run(options)
    action = vars(options).pop("action", None)
    given = {variable: value for variable, value in vars(options).items() if value is not None}
    if action is not None:
        return unit.install(given) if action == "install" else unit.uninstall()
    for variable, value in given.items():
        os.environ[variable] = value  # the supervisor that is started reads it
    return {"start": _start, "stop": _stop, "restart": _restart, "reload": _restart}.get(
        name, _status
    )()


def parser(name: str) -> Parser:
    """Options of one command of gflowd."""
    made = Parser(prog=f"gflowd {name}", description=COMMANDS[name].capitalize() + ".")
    if name == "init":
        initial.add_options(made)
        return made
    if name == "service":
        made.add_argument("action", choices=("install", "uninstall"))
    for option, variable in _OVERRIDES.items():
        made.add_argument(option, metavar="X", dest=variable, help=_OVERRIDE_HELP[option])
    return made


def _become_supervisor() -> NoReturn:
    command = [sys.executable, "-P", "-m", "gflow.supervisor.main", "--gflow-api"]
    os.execve(sys.executable, command, spawning.environment())


def _start() -> int:
    with Client() as client:
        try:
            pid = client.ping()["pid"]
        except Unreachable:
            if unit.is_in_charge():
                print("Starting via systemd user service...", flush=True)
                unit.control("start", unit.NAME)
                print("gflowd started (systemd user service).")
                return 0
            pid = spawning.start(None, None, "--gflow-api")
            print(f"gflowd started (direct mode, PID {pid}).")
        else:
            print("gflowd is already running.")
    return 0


def _stop() -> int:
    serves = unit.is_in_charge()
    if serves:
        unit.control("stop", unit.NAME)
    session = Session(None, True)
    session.print_json = lambda value: None  # type: ignore[method-assign]
    options = argparse.Namespace(timeout=60.0)
    try:
        stopping.run("stop", options, session)
    except Unreachable:
        print("gflowd stopped." if serves else "gflowd was not running.")
        return 0
    print("gflowd stopped.")
    return 0


def _restart() -> int:
    _stop()
    return _start()


def _status() -> int:
    with Client() as client:
        try:
            status = client.status()
        except Unreachable:
            print("Status: Not running\nThe gflowd daemon is not running.")
            return 0
    cards = status["gpus"]
    usable = sum(1 for card in cards if not card["unusable"])
    print("Status: Running")
    print(f"The gflowd daemon is running as a direct process (PID {status['pid']}).")
    print(f"Version:   {status['version']}")
    print(f"PID:       {status['pid']}")
    print(f"Uptime:    {int(status['uptime_s'])}s")
    print("Executor:  process")
    print(f"GPUs:      {len(cards)} total, {usable} available")
    return 0

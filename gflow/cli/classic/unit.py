"""``gflowd service``: the supervisor as a user's service of systemd."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from gflow.cli.command import Failure

NAME = "gflowd.service"
_TEXT = """\
# Made by gflowd service install; gflowd service uninstall takes it away.
[Unit]
Description=gflow job scheduler

[Service]
Type=notify
ExecStart={command}
{environment}ExecReload=/bin/kill -HUP $MAINPID
# Jobs outlive the supervisor, and what a job's memory hunger ends is that job alone.
KillMode=process
Delegate=yes
DelegateSubgroup=supervisor
OOMPolicy=continue
Restart=on-failure
RestartSec=1
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""
_NO_SYSTEMD = (
    "systemd user services are not available here (no user systemd manager). "
    "gflowd start runs it in the background without"
)


def path() -> str:
    """Where the unit is, if it is installed."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.environ.get("HOME", "/"), ".config")
    return os.path.join(base, "systemd", "user", NAME)


def is_in_charge() -> bool:
    """Whether starting and stopping are for systemd: the unit is there, and so is a manager."""
    return os.path.exists(path()) and _is_available()


def install(variables: Mapping[str, str]) -> int:
    """Write the unit, with these variables for the supervisor, and start it now and at login."""
    if not _is_available():
        raise Failure(_NO_SYSTEMD)
    words = [sys.executable, "-P", "-m", "gflow.supervisor.main", "--gflow-api"]
    lines = [f"Environment={_quoted(f'{name}={value}')}\n" for name, value in variables.items()]
    text = _TEXT.format(command=" ".join(map(_quoted, words)), environment="".join(lines))
    os.makedirs(os.path.dirname(path()), exist_ok=True)
    with open(path(), "w", encoding="utf-8") as file:
        file.write(text)
    control("daemon-reload")
    control("enable", "--now", NAME)
    print(f"Installed {path()}; gflowd runs now and after each login.")
    print("loginctl enable-linger keeps it after logout.")
    return 0


def uninstall() -> int:
    """Stop it and delete the unit; running jobs live on."""
    if not os.path.exists(path()):
        print("The systemd user service is not installed.")
        return 0
    if _is_available():
        control("disable", "--now", NAME)
    os.unlink(path())
    if _is_available():
        control("daemon-reload")
    print(f"Removed {path()}.")
    return 0


def control(*words: str) -> None:
    """systemctl --user; Failure with its own words."""
    import subprocess

    answer = subprocess.run(
        ["systemctl", "--user", *words], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        said = answer.stderr.strip() or f"exit code {answer.returncode}"
        raise Failure(f"cannot {words[0]} the systemd user service: {said}")


def _is_available() -> bool:
    import shutil

    manager = os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), "systemd", "private")
    return (
        bool(os.environ.get("XDG_RUNTIME_DIR"))
        and os.path.exists(manager)
        and bool(shutil.which("systemctl"))
    )


def _quoted(word: str) -> str:
    """As systemd.syntax(7) reads it; its specifiers begin with a percent sign."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'

"""``submit --dry-run``: what would be submitted, and whether it would be accepted."""

from __future__ import annotations

import shlex
from typing import Any

from gflow.api.wire import Unreachable
from gflow.cli import sweeping
from gflow.cli.listing import worded
from gflow.cli.rendering import escape
from gflow.cli.session import Session

#: Jobs that are shown one by one.
_SHOWN = 20


def show(specs: list[dict[str, Any]], session: Session) -> int:
    """Print it; the supervisor's refusal is the command's. Nothing is submitted."""
    try:
        answer = session.client.rehearse(specs)
    except Unreachable:
        answer = None
    if session.as_json:
        session.print_json({"specs": specs, "accepted": None if answer is None else True})
        return 0
    tasks = "" if answer is None else f" ({answer['tasks']} to run), which would be accepted"
    print(f"Would submit {_counted(specs)}{tasks}")
    if answer is None:
        session.warn("not checked: no supervisor runs")
    shown = [own for spec in specs[:_SHOWN] for own in sweeping.shown(spec)][:_SHOWN]
    for own in shown:
        print("  " + escape(_line(own)))
    total = len(specs) if answer is None else answer["tasks"]
    if len(specs) > len(shown) or ("sweep" in specs[0] and total > len(shown)):
        print("  and so on")
    rest = {key: value for key, value in specs[0].items() if key not in _ELSEWHERE}
    for key, value in rest.items():
        print(f"{key:<15} {worded(key, value)}")
    return 0


_ELSEWHERE = frozenset({"command", "script", "args", "params", "sweep", "env", "rlimits"})


def _counted(specs: list[dict[str, Any]]) -> str:
    if len(specs) > 1:
        return f"{len(specs)} jobs"
    return "1 array" if specs[0].keys() & {"sweep", "array"} else "1 job"


def _line(spec: dict[str, Any]) -> str:
    """One job: its values, its name and its command line."""
    values = " ".join(f"{name}={value}" for name, value in spec.get("params", {}).items())
    words = spec.get("command") or ["(script)", *spec.get("args", ())]
    name = f"[{spec['name']}] " if spec.get("name") else ""
    return f"{values}: {name}{shlex.join(words)}" if values else f"{name}{shlex.join(words)}"

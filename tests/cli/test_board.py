"""The live view, driven by textual's pilot against a server in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("textual")

from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from gflow.api.client import Client
from gflow.cli.board import Board
from tests.api.fake import RunningServer
from tests.cli.conftest import Run

Drive = Callable[[Pilot[None]], Awaitable[None]]
_PATIENCE_S = 30.0


def drive(server: RunningServer, script: Drive, size: tuple[int, int] = (80, 24)) -> Board:
    """Run the view on a terminal of this size and do what the script does."""
    board = Board(str(server.folder), user="0")

    async def live() -> None:
        async with board.run_test(size=size) as pilot:
            await script(pilot)

    asyncio.run(live())
    return board


async def until(pilot: Pilot[None], holds: Callable[[], Any]) -> None:
    """Let the view go on until something is true."""
    async with asyncio.timeout(_PATIENCE_S):
        while not holds():
            await pilot.pause(0.02)


def text(pilot: Pilot[None], widget: str) -> str:
    """What a part of the view shows."""
    return str(pilot.app.query_one(widget, Static).render())


def rows(pilot: Pilot[None]) -> list[list[str]]:
    table = pilot.app.query_one("#jobs", DataTable)
    return [[str(cell) for cell in table.get_row_at(n)] for n in range(table.row_count)]


def submit(server: RunningServer, *names: str) -> list[int]:
    with Client(str(server.folder)) as client:
        return [client.submit(["true"], name=name) for name in names]


def test_jobs_and_machine(server: RunningServer) -> None:
    """The machine above, the jobs below it; what is new appears by itself."""
    (first,) = submit(server, "one")

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: rows(pilot))
        assert rows(pilot)[0][:2] == [str(first), "one"]
        assert "1 pending" in text(pilot, "#machine") and "1/2" in text(pilot, "#machine")
        submit(server, "two")
        await until(pilot, lambda: [row[1] for row in rows(pilot)] == ["one", "two"])

    drive(server, script)


def test_selection_follows_its_job(server: RunningServer) -> None:
    """When a job above it ends, the selected one stays selected."""
    one, two = submit(server, "one", "two")

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(rows(pilot)) == 2)
        await pilot.press("down")
        await until(pilot, lambda: f"log of job {two}" in text(pilot, "#detail"))
        with Client(str(server.folder)) as client:
            client.cancel(one)
        await until(pilot, lambda: len(rows(pilot)) == 1)
        assert f"log of job {two}" in text(pilot, "#detail")

    drive(server, script)


def test_log_and_explanation(server: RunningServer) -> None:
    """The last lines of the log, made safe; e explains, l goes back."""
    (job,) = submit(server, "one")
    server.operations.logs[job] = b"first\n" * 50 + b"10%\r20%\rdone\n\x1b[2Jlast\n"

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "last" in text(pilot, "#detail"))
        shown = text(pilot, "#detail")
        assert "\\x1b[2Jlast" in shown and "done" in shown and "10%" not in shown
        await pilot.press("e")
        await until(pilot, lambda: "way out: ask for fewer" in text(pilot, "#detail"))
        await pilot.press("l")
        await until(pilot, lambda: "last" in text(pilot, "#detail"))

    drive(server, script)


@pytest.mark.parametrize(
    ("keys", "action"), [(["h"], "hold"), (["c", "y"], "cancel"), (["r", "y"], "requeue")]
)
def test_actions(server: RunningServer, keys: list[str], action: str) -> None:
    """A key acts on the selected job; what cannot be undone is asked about first."""
    (job,) = submit(server, "one")

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: rows(pilot))
        for key in keys:
            await pilot.press(key)
        await until(pilot, lambda: f"{action} job {job}: done" in text(pilot, "#message"))

    drive(server, script)
    (which, _, _) = next(what for name, what in server.operations.calls if name == action)
    assert which.ids == (job,)


def test_declined(server: RunningServer) -> None:
    """Without a yes nothing is cancelled."""
    submit(server, "one")

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: rows(pilot))
        await pilot.press("c")
        await until(pilot, lambda: "y/n" in text(pilot, "#message"))
        await pilot.press("n", "y")

    drive(server, script)
    assert "cancel" not in [name for name, _ in server.operations.calls]


def test_markup_is_text(server: RunningServer) -> None:
    """A job's name cannot colour the view, nor break it."""
    submit(server, "[red]x[/nonsense]")

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: rows(pilot))
        assert rows(pilot)[0][1].startswith("[red]x[/")

    drive(server, script)


def test_no_supervisor_any_more(server: RunningServer) -> None:
    """The view outlives the supervisor and says that nobody answers."""

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "no jobs" in text(pilot, "#machine") or text(pilot, "#machine"))
        pilot.app._runtime_dir = "/nonexistent/gflow"  # type: ignore[attr-defined]
        await until(pilot, lambda: "no answer" in text(pilot, "#message"))

    drive(server, script)


def test_no_terminal(server: RunningServer, run: Run) -> None:
    """Without a terminal there is no live view; JSON is what it would begin with."""
    assert "needs a terminal" in run("top").err
    assert json.loads(run("top", "--json").out).keys() == {"status", "jobs"}

"""The live view behind ``gflowctl top``: what runs and waits, who uses what, one job in detail.

It looks once per second and draws only what it got; whatever asks the supervisor does so in a
worker, so that keys answer at once even when the supervisor does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Static

from gflow.api.client import Client
from gflow.api.wire import WireError
from gflow.cli import gauge, listing, rendering

Record = dict[str, Any]

_INTERVAL_S = 1.0
#: Jobs shown of those that run, and of those that wait.
_SHOWN = 200
_LOG_BYTES = 8192
_ACTIVE = ["RUNNING", "COMPLETING", "SUSPENDED"]


class Board(App[None]):
    """``runtime_dir``: where the supervisor's socket is; ``mine``: begin with one's own jobs."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #machine { height: auto; }
    #jobs { height: 1fr; min-height: 4; }
    #detail { height: 30%; min-height: 3; border-top: solid $primary; }
    #message { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l,enter", "log", "log", priority=True, key_display="l"),
        Binding("e", "explain", "explain"),
        Binding("h", "hold", "hold/release"),
        Binding("c", "cancel", "cancel"),
        Binding("r", "requeue", "requeue"),
        Binding("m", "mine", "mine/all"),
        Binding("y", "confirm", "yes", show=False),
        Binding("n,escape", "decline", "no", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, runtime_dir: str | None, *, user: str, mine: bool = False) -> None:
        super().__init__()
        self._runtime_dir = runtime_dir
        self._user = user
        self._mine = mine
        self._records: dict[str, Record] = {}
        self._keys: list[str] = []
        #: What the lower part shows: "log" or "explain".
        self._shows = "log"
        #: What ``y`` will do.
        self._question: Callable[[], None] | None = None

    def compose(self) -> ComposeResult:
        """Machine above, jobs in the middle, one job below."""
        yield Static(id="machine")
        yield DataTable(id="jobs", cursor_type="row", cell_padding=0, zebra_stripes=False)
        yield Static(id="detail")
        yield Static(id="message")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        table = self._table()
        for title, width in gauge.COLUMNS:
            table.add_column(title, width=width or None, key=title)
        table.focus()
        self._look()
        self.set_interval(_INTERVAL_S, self._look)

    def _table(self) -> DataTable[Text]:
        return self.query_one("#jobs", DataTable)

    def _say(self, text: str) -> None:
        self.query_one("#message", Static).update(Text(rendering.escape(text)))

    # --- looking --------------------------------------------------------------------------------

    def _look(self) -> None:
        busy = any(w.group == "look" and not w.is_finished for w in self.workers)
        if not busy:
            self.run_worker(self._fetch, thread=True, group="look", exit_on_error=False)

    def _fetch(self) -> None:
        users: dict[str, Any] = {"users": [self._user]} if self._mine else {}
        try:
            with Client(self._runtime_dir) as client:
                status = client.status()
                records = [*islice(client.each_job(states=_ACTIVE, **users), _SHOWN)]
                records += islice(client.each_job(states=["PENDING"], **users), _SHOWN)
        except (WireError, OSError) as error:
            self.call_from_thread(self._say, f"no answer: {error}")
            return
        self.call_from_thread(self._draw, status, records)

    def _draw(self, status: Record, records: list[Record]) -> None:
        width = self.size.width
        lines = "\n".join(map(rendering.escape, gauge.machine(status, width)))
        self.query_one("#machine", Static).update(Text(lines))
        self._records = {str(record["id"]): record for record in records}
        self._fill(list(self._records))
        self._detail()

    def _fill(self, keys: list[str]) -> None:
        table = self._table()
        selected = self._selected()
        now_s = time.time()
        rows = {key: self._cells(self._records[key], now_s) for key in keys}
        if keys == self._keys:
            for key, cells in rows.items():
                for (title, _), cell in zip(gauge.COLUMNS, cells):
                    table.update_cell(key, title, cell)
            return
        table.clear()
        for key, cells in rows.items():
            table.add_row(*cells, key=key)
        self._keys = keys
        if selected in rows:
            table.move_cursor(row=keys.index(selected), animate=False)

    def _cells(self, record: Record, now_s: float) -> list[Text]:
        style = rendering.STATES.get(record["state"], ("", ""))[1]
        room = self.size.width - sum(width for _, width in gauge.COLUMNS)
        cells = []
        for (title, width), text in zip(gauge.COLUMNS, gauge.job(record, now_s)):
            shown = rendering.cut(text, width - 1 if width else max(6, room))
            cells.append(Text(shown, style=style if title == "ST" else ""))
        return cells

    def _selected(self) -> str | None:
        row = self._table().cursor_row
        return self._keys[row] if 0 <= row < len(self._keys) else None

    # --- one job --------------------------------------------------------------------------------

    def on_data_table_row_highlighted(self) -> None:
        """Another job is selected."""
        self._detail()

    def _detail(self) -> None:
        key = self._selected()
        if key is None:
            self.query_one("#detail", Static).update("")
            return
        busy = any(w.group == "detail" and not w.is_finished for w in self.workers)
        if not busy:
            self.run_worker(
                lambda: self._fetch_detail(key, self._shows),
                thread=True,
                group="detail",
                exit_on_error=False,
            )

    def _fetch_detail(self, key: str, shows: str) -> None:
        try:
            with Client(self._runtime_dir) as client:
                if shows == "explain":
                    lines = listing.explained(client.explain(key))
                else:
                    data, _, _ = client.log_slice(key, offset=-_LOG_BYTES)
                    lines = [f"log of job {key}", *_printable(data)]
        except (WireError, OSError) as error:
            lines = [rendering.escape(str(error))]
        self.call_from_thread(self._show, key, lines)

    def _show(self, key: str, lines: list[str]) -> None:
        if key != self._selected():
            return
        detail = self.query_one("#detail", Static)
        head, rest = lines[:1], lines[1:]
        room = max(0, detail.size.height - 1)
        if self._shows == "log":
            rest = rest[-room:] if room else []
        width = max(1, detail.size.width)
        shown = [rendering.cut(line, width) for line in [*head, *rest]]
        detail.update(Text("\n".join(shown)))

    # --- keys -----------------------------------------------------------------------------------

    def action_log(self) -> None:
        """Show the log of the selected job."""
        self._shows = "log"
        self._detail()

    def action_explain(self) -> None:
        """Show why the selected job waits."""
        self._shows = "explain"
        self._detail()

    def action_mine(self) -> None:
        """My jobs, or everybody's."""
        self._mine = not self._mine
        self._say("my jobs" if self._mine else "everybody's jobs")
        self._look()

    def action_hold(self) -> None:
        """Hold the selected job, or release it."""
        key = self._selected()
        if key is not None:
            held = bool(self._records[key].get("hold"))
            self._act("release" if held else "hold", key)

    def action_requeue(self) -> None:
        """Run the selected job again, from its beginning."""
        self._ask("requeue")

    def action_cancel(self) -> None:
        """End the selected job."""
        self._ask("cancel")

    def _ask(self, action: str) -> None:
        key = self._selected()
        if key is not None:
            self._question = lambda: self._act(action, key)
            self._say(f"{action} job {key}? y/n")

    def action_confirm(self) -> None:
        """Do what was asked about."""
        question, self._question = self._question, None
        if question is not None:
            question()

    def action_decline(self) -> None:
        """Leave it."""
        if self._question is not None:
            self._question = None
            self._say("")

    def _act(self, action: str, key: str) -> None:
        self.run_worker(
            lambda: self._carry_out(action, key), thread=True, group="act", exit_on_error=False
        )

    def _carry_out(self, action: str, key: str) -> None:
        try:
            with Client(self._runtime_dir) as client:
                refused = client.act(action, key).get("refused") or []
            text = refused[0]["message"] if refused else f"{action} job {key}: done"
        except (WireError, OSError) as error:
            text = str(error)
        self.call_from_thread(self._say, text)
        self.call_from_thread(self._look)


def _printable(data: bytes) -> list[str]:
    """Lines of output; the first may have been cut, a carriage return draws over its line."""
    lines = data.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return [rendering.escape(line.split("\r")[-1].expandtabs()) for line in lines if line]

"""An event loop without a selector: the world says what is readable, and when a turn is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from tests.simulation.clock import Clock


class _NoSelector:
    def select(self, timeout: float | None) -> list[Any]:
        return []


class Loop(asyncio.BaseEventLoop):
    """asyncio's own scheduling of callbacks and tasks, on the fake clock."""

    # What the base class keeps for the loops that are made of it.
    _ready: Any
    _scheduled: Any
    _run_once: Any

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._clock_resolution = 1e-9
        self._selector = _NoSelector()
        self._watched: dict[tuple[str, int], asyncio.Handle] = {}
        #: What no callback or task caught.
        self.crashes: list[BaseException] = []
        self.set_exception_handler(self._note_crash)

    def _note_crash(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), BaseException):
            self.crashes.append(context["exception"])

    def time(self) -> float:
        return self._clock.monotonic()

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    # --- descriptors ----------------------------------------------------------------------------

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        self._watch("r", fd, callback, args)

    def remove_reader(self, fd: Any) -> bool:
        return self._unwatch("r", fd)

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        self._watch("w", fd, callback, args)

    def remove_writer(self, fd: Any) -> bool:
        return self._unwatch("w", fd)

    def _watch(self, way: str, fd: int, callback: Callable[..., Any], args: Any) -> None:
        self._unwatch(way, fd)
        self._watched[way, fd] = asyncio.Handle(callback, args, self)

    def _unwatch(self, way: str, fd: int) -> bool:
        handle = self._watched.pop((way, fd), None)
        if handle is not None:
            handle.cancel()
        return handle is not None

    def watches(self, way: str, fd: int) -> bool:
        """Whether somebody waits to read ("r") or write ("w")."""
        return (way, fd) in self._watched

    # --- turns ----------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether a turn would do something by itself."""
        at_s = self.timer_at_s()
        return bool(self._ready) or (at_s is not None and at_s <= self.time())

    def timer_at_s(self) -> float | None:
        """When the first timer is due; None: there is none."""
        whens = [handle.when() for handle in self._scheduled if not handle.cancelled()]
        return min(whens, default=None)

    def turn(self, woken: Iterable[tuple[str, int]] = ()) -> None:
        """One turn in which these descriptors are ready."""
        for way in woken:
            if way in self._watched:
                self._ready.append(self._watched[way])
        asyncio._set_running_loop(self)
        try:
            self._run_once()
        finally:
            asyncio._set_running_loop(None)

    def abandon(self) -> None:
        """The process is dead: nothing of it runs any more."""
        self.set_exception_handler(lambda loop, context: None)
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            work: Any = task.get_coro()
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()
        self._ready.clear()
        self._scheduled.clear()

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """As ever; what dies may still clean up after itself, to no effect."""
        if self.is_closed():
            return asyncio.Handle(callback, args, self)
        return super().call_soon(callback, *args, context=context)

    def __del__(self) -> None:
        self.close()  # without a warning: it died

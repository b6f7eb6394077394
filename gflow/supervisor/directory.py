"""Names of users, asked for by the launcher's readers and kept in memory."""

from __future__ import annotations

import asyncio

from gflow.errors import Refused
from gflow.launching import request
from gflow.supervisor.launcher_port import LauncherPort


class Directory:
    """Who a uid is: the name service is never asked in the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, launcher: LauncherPort) -> None:
        self._loop = loop
        self._launcher = launcher
        #: uid → user name, as far as it is known.
        self.names: dict[int, str] = {}
        self._asked: set[int] = set()
        #: uid → (user name, primary group), as far as they were needed.
        self._accounts: dict[int, tuple[str, int]] = {}
        #: Questions under way, referenced until they are answered.
        self._tasks: set[asyncio.Task[None]] = set()

    def name(self, uid: int) -> str | None:
        """A user's name, from memory alone; None while a reader asks for it."""
        name = self.names.get(uid)
        if name is None and uid not in self._asked:
            self._asked.add(uid)
            task = self._loop.create_task(self._ask(uid))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return name

    async def _ask(self, uid: int) -> None:
        try:
            facts, _ = await self._launcher.read(lambda number: request.read_user(number, uid))
            self.names[uid] = facts["name"]
        except Refused as error:
            if error.kind == Refused.NOT_FOUND:
                self.names[uid] = str(uid)
        finally:
            self._asked.discard(uid)

    async def account(self, uid: int) -> tuple[str, int]:
        """A user's name and primary group, asked for once. Raises Refused when nobody has them."""
        found = self._accounts.get(uid)
        if found is None:
            facts, _ = await self._launcher.read(lambda number: request.read_user(number, uid))
            found = self._accounts[uid] = (facts["name"], facts["gid"])
            self.names[uid] = facts["name"]
        return found

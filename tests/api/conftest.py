"""A server with operations that only pretend, and a client that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gflow.api.client import Client
from tests.api.fake import RunningServer, running_server


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(str(server.folder), timeout_s=20, reconnect_s=0.5) as one:
        yield one

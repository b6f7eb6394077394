"""Commands in this process, against a server that only pretends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from gflow.cli.main import main
from tests.api.fake import RunningServer, running_server


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server that commands find by themselves."""
    with running_server() as running:
        monkeypatch.setenv("GFLOW_RUNTIME_DIR", str(running.folder))
        yield running


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("queue", "--all")`` as a user would."""
    monkeypatch.setenv("COLUMNS", "80")

    def one(*words: str) -> Result:
        capfdbinary.readouterr()
        try:
            code = main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfdbinary.readouterr()
        assert b"Traceback" not in err
        return Result(code, out.decode(), err.decode())

    return one

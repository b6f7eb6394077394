"""Where the API listens, and where it does not."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from gflow.compat.listener import bind
from gflow.errors import ConfigError
from tests.system.machine import Machine


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:59000", "192.168.1.1:1", "example.org:80", "localhost", "localhost:99999", ":1"],
)
def test_only_loopback(listen: str) -> None:
    """Peers of other machines cannot be identified, so they cannot come."""
    with pytest.raises(ConfigError, match=r"http\.listen"):
        bind(listen)


def test_localhost_is_both_families_on_one_port() -> None:
    """Clients try either."""
    made = bind("localhost:0")
    try:
        assert len({one.getsockname()[1] for one in made}) == 1
    finally:
        for one in made:
            one.close()


@pytest.fixture
def new_machine(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Machine]:
    """Makes machines that never come up here."""
    return lambda **settings: Machine(tmp_path_factory.mktemp("m"), **settings)


def test_a_port_that_is_taken_is_a_reason_not_to_start(
    new_machine: Callable[..., Machine],
) -> None:
    """Two daemons never share a port; the sentence names it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        machine = new_machine(GFLOW_HTTP__GFLOW_API="true", GFLOW_HTTP__LISTEN=f"127.0.0.1:{port}")
        try:
            code, words = machine.refuse_to_start()
        finally:
            machine.close()
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in words


def test_it_is_off_unless_asked_for(new_machine: Callable[..., Machine]) -> None:
    """Without [http] gflow_api nobody listens on the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    machine = new_machine(GFLOW_HTTP__LISTEN=f"127.0.0.1:{port}")
    try:
        machine.start()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    finally:
        machine.close()

"""Many clients at once on the supervisor's socket, in one small process: ``python -m``.

One process for all of them, so that what is measured is the supervisor and not sixty interpreters.
Each client sends its next request when the answer to its last one is complete. Prints one JSON
object: how many answers, in how many seconds, and each one's seconds.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tools.bench.machine import SPEC, Machine

ROOT = Path(__file__).resolve().parents[2]


def submit(
    machine: Machine, clients: int, seconds: float, **fields: Any
) -> tuple[float, list[float]]:
    """Durable submissions per second of so many clients, and the seconds of each."""
    path = str(machine.runtime / "gflow.sock")
    spec = json.dumps({**SPEC, "hold": True, **fields})
    answer = subprocess.run(
        [sys.executable, "-m", "tools.bench.crowd", path, str(clients), str(seconds), spec],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    found = json.loads(answer.stdout)
    return found["answers"] / found["seconds"], found["latencies"]


def _request(body: bytes) -> bytes:
    head = (
        "POST /v1/jobs?wait=true HTTP/1.1\r\nHost: gflow\r\nGflow-Protocol: 1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Client:
    """One connection with one request on its way."""

    def __init__(self, path: str, request: bytes) -> None:
        self._request = request
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self._buffer = b""
        self.sent_s = 0.0

    def send(self) -> None:
        """Ask."""
        self.sent_s = time.perf_counter()
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Whether the answer is complete; it must be a success."""
        data = self.socket.recv(65536)
        assert data, "the supervisor closed the connection"
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return False
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return False
        assert head.startswith(b"HTTP/1.1 201") and b'"durable":true' in body, self._buffer
        self._buffer = b""
        return True


def main(path: str, count: int, seconds: float, spec: str) -> None:
    """Ask for so many seconds, then wait for the last answers."""
    request = _request(spec.encode())
    selector = selectors.EpollSelector()
    clients = [_Client(path, request) for _ in range(count)]
    latencies: list[float] = []
    began_s = time.perf_counter()
    end_s = began_s + seconds
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send()
    waiting = count
    while waiting:
        for key, _ in selector.select():
            client = key.data
            if not client.receive():
                continue
            now_s = time.perf_counter()
            latencies.append(now_s - client.sent_s)
            if now_s < end_s:
                client.send()
            else:
                waiting -= 1
    took_s = time.perf_counter() - began_s
    print(json.dumps({"answers": len(latencies), "seconds": took_s, "latencies": latencies}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])

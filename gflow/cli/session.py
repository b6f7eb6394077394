"""What a command works with: the client, and where its answers go."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from gflow.api.client import Client
from gflow.cli import rendering


class Session:
    """One command's run."""

    def __init__(self, runtime_dir: str | None, as_json: bool) -> None:
        self.runtime_dir = runtime_dir
        #: Print JSON and nothing else.
        self.as_json = as_json
        #: The command has begun to print its JSON.
        self.has_answered = False
        self.client = Client(runtime_dir)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def print(self, text: str) -> None:
        """A line for people; not with --json."""
        if not self.as_json:
            print(text)

    def warn(self, text: str) -> None:
        """A line on standard error, made safe."""
        print(f"gflowctl: {rendering.escape(text)}", file=sys.stderr)

    def print_json(self, value: Any) -> None:
        """The one JSON value of the command."""
        self.has_answered = True
        print(json.dumps(value))

    def print_json_list(self, values: Iterable[Any]) -> None:
        """A JSON list, written as its items come."""
        separator = "["
        for value in values:
            self.has_answered = True
            sys.stdout.write(separator + json.dumps(value))
            separator = ",\n"
        print("[]" if separator == "[" else "]")

"""Sweeps on the command line: one array where it can be, else a list of jobs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from gflow.api import sweep
from gflow.api.quantity import GrammarError, quoted
from gflow.cli.command import EXIT_USAGE, Failure, Parser, written

Record = dict[str, Any]

#: Jobs of one submission.
_MAX_JOBS = 10_000


def add_options(parser: Parser) -> None:
    """--param and --param-file, in the order in which they are multiplied."""
    group = parser.add_argument_group("one job for each combination")
    group.add_argument(
        "--param",
        action="append",
        dest="sweep",
        type=written(sweep.parse_param),
        metavar="NAME=VALUES",
        help="lr=0.1,0.01 seed=1..5 n=1..10..2; {lr} in command and name, $GFLOW_PARAM_LR",
    )
    group.add_argument(
        "--param-file",
        action="append",
        dest="sweep",
        type=written(_read),
        metavar="FILE",
        help="a CSV file whose first line names the parameters",
    )
    group.add_argument("--array-limit", type=_limit, metavar="N", help="at most so many at once")


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:11]) < 2**31):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no number from 1 on")
    return int(text)


def _read(path: str) -> sweep.Factor:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return sweep.parse_table(file.read(), path)
    except UnicodeDecodeError:
        raise GrammarError(f"{quoted(path)} is not UTF-8 text") from None
    except OSError as error:
        raise GrammarError(f"cannot read {quoted(path)}: {error.strerror}") from None


def specs(
    factors: list[sweep.Factor], words: list[str], make: Callable[[list[str]], Record]
) -> list[Record]:
    """The specs of a sweep: one array, unless its script's path or its size forbids it.

    ``make`` makes a spec of the words of a command line.
    """
    from gflow.model import parameter

    sweep.check_together(factors)
    table = sweep.to_sweep(factors)
    first = words[0] if words else ""
    swept_path = (
        first != "--"
        and parameter.filled(first, dict.fromkeys(parameter.names(table), "")) != first
    )
    values = [value for factor in factors for column in factor.values() for value in column]
    if (
        not swept_path
        and len(values) <= sweep.MAX_VALUES
        and sum(map(len, values)) <= sweep.MAX_CHARACTERS
    ):
        return [{**make(words), "sweep": factors}]
    count = parameter.size(table)
    if count > _MAX_JOBS:
        raise Failure(
            f"the sweep has {count} combinations: at most {_MAX_JOBS} "
            "when the script's path or more than 50000 values are swept",
            EXIT_USAGE,
        )
    made: dict[str, Record] = {}
    found = []
    for position in range(count):
        chosen = dict(parameter.values_at(table, position))
        path = parameter.filled(first, chosen) if swept_path else first
        if path not in made:
            made[path] = make([path, *words[1:]])
        found.append(_filled(made[path], chosen))
    return found


def _filled(spec: Record, values: Mapping[str, str]) -> Record:
    """One combination's own spec."""
    from gflow.model import parameter

    own = {**spec, "params": {**values}}
    for key in ("name", "cwd", "output_path", "error_path"):
        if isinstance(own.get(key), str):
            own[key] = parameter.filled(own[key], values)
    if "command" in own:
        own["command"] = [*parameter.filled_command(tuple(own["command"]), values)]
    if "args" in own:
        own["args"] = [parameter.filled(word, values) for word in own["args"]]
    return own


def shown(spec: Record) -> list[Record]:
    """The first combinations of a spec, filled in, for people."""
    from gflow.model import parameter

    if "sweep" not in spec:
        return [spec]
    table = sweep.to_sweep(spec["sweep"])
    rest = {key: value for key, value in spec.items() if key != "sweep"}
    some = range(min(parameter.size(table), 20))
    return [_filled(rest, dict(parameter.values_at(table, position))) for position in some]

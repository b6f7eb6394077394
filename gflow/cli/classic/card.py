"""``gctl``: which cards are given out, and foreign processes on them that do not count."""

from __future__ import annotations

import argparse

from gflow.api.client import Client
from gflow.api.wire import Refusal
from gflow.cli.classic import info, notation, sheet
from gflow.cli.command import Failure, Parser, whole
from gflow.cli.rendering import escape

_UNSAFE = (
    "Warning: manually ignoring a GPU process is unsafe.",
    "gflow may schedule onto that GPU even though the process is still attached.",
    "This override lasts as long as the process is on that GPU.",
)


def set_options(parser: Parser) -> None:
    """Which cards."""
    parser.add_argument("cards", metavar="CARDS", help="0,2-3 or all")


def restrict(client: Client, options: argparse.Namespace) -> int:
    """``set-gpus``."""
    known = {card["index"] for card in client.status()["gpus"]}
    wanted = None if options.cards == "all" else notation.cards(options.cards)
    strange = [index for index in wanted or () if index not in known]
    if strange:
        raise Failure(
            "Failed to set GPU configuration: "
            f"Invalid GPU indices {strange} (only {len(known)} GPUs detected)"
        )
    client.restrict_cards(wanted)
    if wanted is None:
        print("GPU restriction removed: all GPUs are now available")
    else:
        print(f"GPU restriction updated: only GPUs {[*wanted]} will be used")
    return 0


def show(client: Client, options: argparse.Namespace) -> int:
    """``show-gpus``: one line per card."""
    held = info.holders_of_cards(client)
    for card in client.status()["gpus"]:
        index, ignored = card["index"], card["ignored_pids"]
        reason = None if card["restricted"] else card["unusable"]
        words = [str(index), "in_use" if index in held or reason else "available"]
        words += ["restricted"] * card["restricted"]
        if reason:
            words.append(escape(reason))
        elif ignored:
            words.append(",".join(f"manual_ignore(gpu={index},pid={pid})" for pid in ignored))
        print("\t".join(words))
    return 0


def process_options(parser: Parser) -> None:
    """Which process on which card."""
    parser.add_argument("--gpu", type=whole(0, 1023), required=True, metavar="G")
    parser.add_argument("--pid", type=whole(1, 2**31), required=True, metavar="P")


def _warn() -> None:
    for line in _UNSAFE:
        sheet.warn(line)


def ignore(client: Client, options: argparse.Namespace) -> int:
    """``gpu-process ignore``."""
    gpu, pid = options.gpu, options.pid
    _warn()
    problem = "Failed to ignore GPU process:"
    if gpu not in {card["index"] for card in client.status()["gpus"]}:
        raise Failure(f"{problem} Invalid GPU index {gpu} (scheduler does not manage that GPU)")
    try:
        client.ignore_process(gpu, pid)
    except Refusal as error:
        if error.status != 404:
            raise
        raise Failure(f"{problem} PID {pid} is not currently running on GPU {gpu}") from None
    sheet.warn(f"Warning: override applied for GPU {gpu} PID {pid}.")
    print(f"Ignoring GPU process PID {pid} on GPU {gpu}")
    return 0


def unignore(client: Client, options: argparse.Namespace) -> int:
    """``gpu-process unignore``."""
    gpu, pid = options.gpu, options.pid
    try:
        client.heed_process(gpu, pid)
    except Refusal as error:
        if error.status != 404:
            raise
        text = f"Ignore override for PID {pid} on GPU {gpu} was not found"
        raise Failure(f"Failed to unignore GPU process: {text}") from None
    print(f"Removed GPU process ignore override for PID {pid} on GPU {gpu}")
    return 0


def show_ignored(client: Client, options: argparse.Namespace) -> int:
    """``gpu-process list``."""
    found = [
        (card["index"], pid) for card in client.status()["gpus"] for pid in card["ignored_pids"]
    ]
    if not found:
        print("No ignored GPU processes")
        return 0
    _warn()
    for index, pid in found:
        print(f"gpu={index}\tpid={pid}")
    return 0

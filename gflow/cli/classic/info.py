"""``ginfo``: the cards, and who has them."""

from __future__ import annotations

from typing import Any

from gflow.api import dialect
from gflow.api.client import Client
from gflow.cli.classic import sheet
from gflow.cli.command import Parser

Record = dict[str, Any]


def parser() -> Parser:
    """Options of ginfo."""
    made = Parser(prog="ginfo", description="The cards, and who has them.")
    made.add_argument("-v", "--verbose", action="count")
    made.add_argument("-q", "--quiet", action="store_true")
    return made


def run(words: list[str]) -> int:
    """The command. Nothing at all is printed where there are no cards."""
    parser().parse_args(words)
    with Client() as client:
        cards = client.status()["gpus"]
        if not cards:
            return 0
        holders = holders_of_cards(client)
    groups: dict[tuple[str, str], list[int]] = {}
    for card in cards:
        jobs = holders.get(card["index"], [])
        if jobs:
            names = ", ".join(f"{one['id']} ({dialect.run_name(one)})" for one in jobs)
            key = ("allocated", names)
        elif card["unusable"] and not card["restricted"]:
            key = ("allocated", f"({card['unusable']})")
        else:
            key = ("idle", "")
        groups.setdefault(key, []).append(card["index"])
    rows = [["PARTITION", "GPUS", "NODES", "STATE", "JOB(REASON)"]]
    for (state, who), indices in sorted(groups.items(), key=lambda one: one[0][0] != "idle"):
        rows.append(["gpu", str(len(indices)), ",".join(map(str, indices)), state, who])
    print("\n".join(sheet.lines(rows, 2)))
    return 0


def holders_of_cards(client: Client) -> dict[int, list[Record]]:
    """Card → jobs that have it."""
    held: dict[int, list[Record]] = {}
    for one in client.each_job(states=["RUNNING", "SUSPENDED", "COMPLETING"]):
        for index in one["gpu_ids"]:
            held.setdefault(index, []).append(one)
    return held

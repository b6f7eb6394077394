"""How jobs, arrays and dependencies are written.

Used by commands and server alike, so only cheap parts of the standard library. Every parser raises
GrammarError with one sentence that quotes what was written and says what would do.
"""

from __future__ import annotations

import re
from itertools import pairwise

from gflow.api.quantity import GrammarError, nearest, parse_duration, parse_signal, quoted

#: Ids fit SQLite's integers.
MAX_ID = 2**63 - 1
#: Task numbers fit 32 bits, as Slurm's do.
MAX_TASK = 2**31 - 1
#: Jobs that one list of ids may name.
MAX_LISTED = 100_000

#: What a retry rule may be for, exit=N and signal=N apart, and what the next attempt gets more of.
RETRY_CAUSES = ("any", "oom", "timeout", "lost")
SCALABLE = ("memory", "time", "gpu_memory", "cpus")
#: Cards of one machine.
MAX_CARD = 1023

DEPENDENCY_TYPES = ("afterok", "afterany", "afternotok", "after", "aftercorr", "singleton")

_REFERENCE = re.compile(r"(\d+)(?:_(\d+))?", re.ASCII)
_LAST = re.compile(r"@(?:~(\d+))?", re.ASCII)
#: Commas outside brackets.
_COMMA = re.compile(r",(?![^\[\]]*\])")
_FACTOR = re.compile(r"\d{1,3}(?:\.\d{1,6})?", re.ASCII)
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?", re.ASCII)


def parse_reference(text: str) -> tuple[int | None, int | None, int | None]:
    """(id, task, steps back) of one job: ``7``, ``7_3``, ``@`` (my last), ``@~1`` (before it)."""
    last = _LAST.fullmatch(text)
    if last and len(text) <= 12:
        return None, None, int(last[1] or 0)
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise GrammarError(f"the job {quoted(text)} is not understood: 7, 7_3, @ or @~1")
    if len(match[1]) > 19 or not 1 <= int(match[1]) <= MAX_ID:
        raise GrammarError(f"no job has the id {quoted(text)}: ids are 1 to {MAX_ID}")
    if match[2] is None:
        return int(match[1]), None, None
    if len(match[2]) > 10 or int(match[2]) > MAX_TASK:
        raise GrammarError(f"no task has the number {quoted(text)}: tasks are 0 to {MAX_TASK}")
    return int(match[1]), int(match[2]), None


def parse_references(text: str) -> list[str]:
    """Every job of a list, one by one: ``7``, ``3-9``, ``4,6``, ``7_3``, ``7_1-4``, ``@``.

    ``7_[1-4,9%2]``, as lists show the waiting tasks of an array, means those tasks.
    """
    jobs: list[str] = []
    for item in _COMMA.split(text):
        if item.endswith("]"):
            jobs += _bracketed(item, text)
            continue
        array, underscore, numbers = item.rpartition("_")
        first, dash, last = numbers.partition("-")
        if not (dash and first and last):
            parse_reference(item)
            jobs.append(item)
        else:
            prefix = array + underscore
            parse_reference(prefix + first)
            parse_reference(prefix + last)
            low, high = _ascending(first, last, item)
            if len(jobs) + high - low >= MAX_LISTED:
                raise GrammarError(f"the list {quoted(text)} names more than {MAX_LISTED} jobs")
            jobs += [f"{prefix}{number}" for number in range(low, high + 1)]
    return jobs


def _bracketed(item: str, text: str) -> list[str]:
    array, bracket, tasks = item[:-1].partition("_[")
    parse_reference(array)
    if not bracket:
        raise GrammarError(f"the job {quoted(item)} is not understood: 7_[1-4]")
    ranges, _ = parse_array(tasks)
    if sum((last - first) // step + 1 for first, last, step in ranges) > MAX_LISTED:
        raise GrammarError(f"the list {quoted(text)} names more than {MAX_LISTED} jobs")
    return [
        f"{array}_{task}" for first, last, step in ranges for task in range(first, last + 1, step)
    ]


def _ascending(first: str, last: str, item: str) -> tuple[int, int]:
    if not (first.isdigit() and last.isdigit()):
        raise GrammarError(f"the range {quoted(item)} is not understood: 3-9")
    if int(first) > int(last):
        raise GrammarError(f"the range {quoted(item)} ends before it begins: {last}-{first}")
    return int(first), int(last)


def parse_array(text: str) -> tuple[list[tuple[int, int, int]], int | None]:
    """(first, last, step) ascending without a task twice, and the limit of ``%N`` (or None).

    ``1-100%4``, ``0,3,7-9``, ``1-9:2``. The number of tasks is not bounded here.
    """
    tasks, percent, limit_text = text.strip().partition("%")
    limit = None
    if percent:
        if not (limit_text.isascii() and limit_text.isdigit() and len(limit_text) <= 10):
            raise GrammarError(f"the limit of the array {quoted(text)} is not a number: 1-100%4")
        limit = int(limit_text)
        if limit == 0:
            raise GrammarError(
                f"the array {quoted(text)} could never start: its limit is 0, not 1 or more"
            )
    ranges = []
    for item in tasks.split(","):
        match = _RANGE.fullmatch(item)
        if match is None:
            raise GrammarError(
                f"the array {quoted(text)} is not understood: 1-100, 1,3,7-9:2, 1-100%4"
            )
        ranges.append(_array_range(match, item, text))
    return disjoint_ranges(ranges), limit


def _array_range(match: re.Match[str], item: str, text: str) -> tuple[int, int, int]:
    first, last, step = match[1], match[2] or match[1], match[3] or "1"
    if max(len(first), len(last), len(step)) > 10 or int(last) > MAX_TASK:
        raise GrammarError(f"the array {quoted(text)} has task numbers above {MAX_TASK}")
    low, high = _ascending(first, last, item)
    if int(step) == 0:
        raise GrammarError(f"the array {quoted(text)} has a step of 0: {first}-{last}:1")
    return low, high - (high - low) % int(step), int(step)


def disjoint_ranges(ranges: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The same tasks in ascending order, each once; interleaved steps are merged if few."""
    ordered = sorted(ranges)
    if all(a[1] < b[0] for a, b in pairwise(ordered)):
        return ordered
    if sum((last - first) // step + 1 for first, last, step in ordered) > MAX_LISTED:
        raise GrammarError("the array's ranges overlap: name each task once")
    tasks = sorted({task for first, last, step in ordered for task in range(first, last + 1, step)})
    merged: list[tuple[int, int, int]] = []
    for task in tasks:
        if merged and merged[-1][1] == task - 1:
            merged[-1] = (merged[-1][0], task, 1)
        else:
            merged.append((task, task, 1))
    return merged


def format_array(ranges: list[tuple[int, int, int]], limit: int | None) -> str:
    """The expression that ``parse_array`` reads."""
    parts = []
    for first, last, step in ranges:
        if first == last:
            parts.append(f"{first}")
        else:
            parts.append(f"{first}-{last}" + (f":{step}" if step != 1 else ""))
    return ",".join(parts) + (f"%{limit}" if limit else "")


def parse_dependencies(text: str) -> tuple[str, list[tuple[str, list[str], float]]]:
    """("all" or "any", [(type, job references, delay in seconds)]).

    ``afterok:1:2,afterany:3`` (all), ``afterok:1?afterany:2`` (any), ``after:5+10`` (ten minutes
    after it began), ``singleton``; a bare job means afterok.
    """
    mode = "any" if "?" in text else "all"
    if mode == "any" and "," in text:
        raise GrammarError(f"the dependency {quoted(text)} mixes ',' (all) and '?' (any)")
    conditions: list[tuple[str, list[str], float]] = []
    for item in text.split("?" if mode == "any" else ","):
        word, colon, rest = item.strip().partition(":")
        if word == "singleton" and not colon:
            conditions.append((word, [], 0.0))
        elif not colon and word[:1] in ("@", *"0123456789"):
            conditions.append(("afterok", parse_references(word), 0.0))
        elif word in DEPENDENCY_TYPES and word != "singleton" and rest:
            conditions.append((word, *_dependency_jobs(word, rest, text)))
        else:
            raise GrammarError(
                f"the dependency {quoted(text)} is not understood: "
                "afterok:7, afterany:7:8, afternotok:7, after:7+10, aftercorr:7 or singleton"
            )
    return mode, conditions


def _dependency_jobs(word: str, rest: str, text: str) -> tuple[list[str], float]:
    jobs: list[str] = []
    delay_s = 0.0
    for part in rest.split(":"):
        reference, plus, minutes = part.partition("+")
        jobs += parse_references(reference)
        if plus:
            if word != "after":
                raise GrammarError(
                    f"the dependency {quoted(text)} has a delay: only after takes one"
                )
            delay_s = max(delay_s, parse_duration(minutes) or 0.0)
    return jobs, delay_s


# --- retries, groups, cards ---------------------------------------------------------------------


def parse_retry(text: str) -> tuple[str, int, dict[str, float]]:
    """(cause, times, factors for the next attempt's request) of a retry rule.

    ``any:2``, ``oom:2,memory*1.5``, ``timeout:1,time*2``, ``exit=75:5``, ``signal=SEGV:1``; without
    a number once.
    """
    head, *factors = text.split(",")
    word, colon, number = head.strip().partition(":")
    times = number.strip() if colon else "1"
    if not (times.isascii() and times.isdigit() and len(times) <= 6 and int(times) > 0):
        raise GrammarError(
            f"the retry {quoted(text)} has no number of times: any:2 or oom:2,memory*1.5"
        )
    scale: dict[str, float] = {}
    for factor in factors:
        name, value = _retry_factor(factor, text)
        if name in scale:
            raise GrammarError(f"the retry {quoted(text)} changes {name} twice")
        scale[name] = value
    return parse_retry_cause(word.strip(), text), int(times), scale


def parse_retry_cause(word: str, text: str) -> str:
    """The cause of a retry rule as it is kept: ``oom``, ``exit=75``, ``signal=11``."""
    kind, equals, value = word.partition("=")
    if kind == "exit" and value.isascii() and value.isdigit() and len(value) < 4:
        if 1 <= int(value) <= 255:
            return f"exit={int(value)}"
        raise GrammarError(f"the retry {quoted(text)} has no exit code: 1 to 255, as in exit=75:5")
    if kind == "signal" and equals:
        return f"signal={parse_signal(value)}"
    if word in RETRY_CAUSES:
        return word
    near = nearest(word, [*RETRY_CAUSES, "exit", "signal"])
    hint = f"; did you mean {near}?" if near else ""
    raise GrammarError(
        f"the retry {quoted(text)} has no known cause: "
        f"{', '.join(RETRY_CAUSES)}, exit=N or signal=NAME{hint}"
    )


def _retry_factor(factor: str, text: str) -> tuple[str, float]:
    name, star, number = factor.strip().partition("*")
    name = name.replace("-", "_")
    if not star or name not in SCALABLE:
        near = nearest(name, [*SCALABLE])
        hint = f"; did you mean {near}*2?" if near else ""
        raise GrammarError(
            f"the retry {quoted(text)} can change {', '.join(SCALABLE)} only, "
            f"as in memory*1.5{hint}"
        )
    if not _FACTOR.fullmatch(number) or not 0.01 <= float(number) <= 100:
        raise GrammarError(
            f"the retry {quoted(text)} has no factor from 0.01 to 100: {name}*1.5 or {name}*2"
        )
    return name, float(number)


def parse_group(text: str) -> tuple[str, int | None]:
    """(name, how many at once) of ``NAME`` or ``NAME%MAX``; None leaves the limit as it is."""
    name, percent, limit = text.partition("%")
    if not name or (percent and not (limit.isascii() and limit.isdigit() and len(limit) <= 7)):
        raise GrammarError(f"the group {quoted(text)} is not understood: NAME or NAME%4")
    if percent and int(limit) == 0:
        raise GrammarError(f"the group {quoted(text)} could never run: its limit is 0")
    return name, int(limit) if percent else None


def parse_cards(text: str) -> list[int]:
    """Indices of cards, ascending: ``0,2-3``."""
    found: set[int] = set()
    for item in text.split(","):
        first, dash, last = item.strip().partition("-")
        if not (first.isascii() and first.isdigit() and len(first) <= 4) or (dash and not last):
            raise GrammarError(f"the cards {quoted(text)} are not understood: 0,2-3")
        low, high = _ascending(first, last or first, item)
        if high > MAX_CARD:
            raise GrammarError(f"the cards {quoted(text)} go beyond {MAX_CARD}")
        found.update(range(low, high + 1))
    return sorted(found)

"""How the older gflow's commands write values. Every parser raises GrammarError with its words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from gflow.api import moment
from gflow.api.grammar import MAX_ID, MAX_LISTED, parse_reference
from gflow.api.quantity import GrammarError, quoted
from gflow.cli.command import Failure

_ARRAY = re.compile(r"(\d{1,10})-(\d{1,10})", re.ASCII)
_BEGIN = re.compile(r"(?:now)?\+(\d{1,12})([smhd]?)", re.ASCII)
_SINCE = re.compile(r"(\d{1,9})([hdw])", re.ASCII)
_SPAN = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MAX_SWEEP = 10_000


def stated(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A type for argparse: what the older gflow's own parser would not see ends with 1, not 2."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except GrammarError as error:
            raise Failure(str(error)) from None

    return convert


def time_limit(text: str) -> float:
    """Seconds of ``MM``, ``MM:SS`` or ``HH:MM:SS``."""
    parts = text.split(":")
    if len(parts) > 3 or not all(p.isascii() and p.isdigit() and len(p) < 12 for p in parts):
        form = "number of minutes" if len(parts) == 1 else "formats: HH:MM:SS, MM:SS, or MM"
        raise GrammarError(f"Invalid time format. Expected {form}")
    numbers = [int(part) for part in parts]
    if len(numbers) == 1:
        return numbers[0] * 60.0
    total = 0
    for number in numbers:
        total = total * 60 + number
    return float(total)


def memory(text: str) -> int:
    """Bytes of ``500M``, ``20G`` or a number of megabytes."""
    word = text.strip()
    unit = word[-1:].upper()
    digits = word[:-1] if unit in ("G", "M") else word
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12):
        raise GrammarError(f"Invalid memory format: {quoted(text)}; expected 500M, 20G or MB")
    return int(digits) << (30 if unit == "G" else 20)


def ids(text: str) -> list[int]:
    """Ids of ``7``, ``3-9``, ``4,6``: ascending, each once."""
    return _numbers(text, "job ID")


def cards(text: str) -> list[int]:
    """Indices of cards, written as ids are."""
    return _numbers(text, "GPU index")


def _numbers(text: str, what: str) -> list[int]:
    found: set[int] = set()
    for item in text.split(","):
        first, dash, last = item.strip().partition("-")
        words = (first, last) if dash else (first,)
        if not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words):
            raise GrammarError(f"Invalid {what} or range: {text}")
        low, high = int(words[0]), int(words[-1])
        if low > high or high > MAX_ID or high - low + len(found) >= MAX_LISTED:
            raise GrammarError(f"Invalid {what} or range: {text}")
        found.update(range(low, high + 1))
    return sorted(found)


def array(text: str) -> range:
    """Indices of ``A-B``."""
    match = _ARRAY.fullmatch(text)
    if match is None:
        raise GrammarError("Invalid array format. Expected format like '1-10'.")
    if int(match[1]) > int(match[2]):
        raise GrammarError("Array start index cannot be greater than end index")
    return range(int(match[1]), int(match[2]) + 1)


def begin(text: str) -> float:
    """Epoch seconds of ``now+2h``, ``+30`` (minutes), ``16:00``, ``2026-01-20 10:00``."""
    match = _BEGIN.fullmatch(text)
    if match is not None:
        return time.time() + int(match[1]) * _UNITS_S[match[2] or "m"]
    return moment.parse_begin(text, time.time())


def since(text: str) -> float:
    """Epoch seconds of ``2h``, ``7d``, ``1w`` ago, ``today``, ``yesterday``, a date, a number."""
    match = _SINCE.fullmatch(text)
    if match is not None:
        return time.time() - int(match[1]) * _UNITS_S[match[2]]
    if text in ("today", "yesterday"):
        midnight = time.time() // 86400 * 86400
        return midnight if text == "today" else midnight - 86400
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 12:
        return float(text)
    return moment.parse_past(text, time.time())


def span(text: str) -> float:
    """Seconds of ``1h30m``, a multiple of half an hour."""
    match = _SPAN.fullmatch(text)
    seconds = 0
    if match is not None:
        seconds = int(match[1] or 0) * 3600 + int(match[2] or 0) * 60
    if seconds == 0 or seconds % 1800:
        raise GrammarError(f"Invalid duration {quoted(text)}: expected 1h30m, in half hours")
    return float(seconds)


def window(text: str) -> tuple[float, float]:
    """Seconds back and ahead of now: ``48h``, ``-24h``, ``-24h:+24h``."""
    first, colon, second = text.partition(":")
    ends = [_offset(part) for part in ((first, second) if colon else (first,))]
    since, until = min(0.0, *ends), max(0.0, *ends)
    if colon:
        since, until = ends
    if since >= until:
        raise GrammarError(f"Invalid range {quoted(text)}: expected 48h, -24h or -24h:+24h")
    return -since, until


def _offset(text: str) -> float:
    return -span(text[1:]) if text.startswith("-") else span(text.removeprefix("+"))


def parents(text: str) -> list[int | str]:
    """Jobs that one depends on: ids, or ``@`` and its like."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise GrammarError("Dependency list cannot be empty")
    for word in words:
        try:
            parse_reference(word)
        except GrammarError:
            raise GrammarError(f"Invalid dependency value: {word}") from None
    return [int(word) if word.isdigit() else word for word in words]


def address(text: str) -> str:
    """What mail is sent to."""
    name, at, host = text.rpartition("@")
    if not (name and at and host) or any(sign.isspace() for sign in text):
        raise GrammarError(f"Invalid --notify-email '{text}': Invalid input")
    return text


def parameter(text: str) -> tuple[str, list[str]]:
    """Name and values of ``name=v1,v2`` or of the inclusive range ``name=start:stop[:step]``."""
    name, equals, rest = text.partition("=")
    name = name.strip()
    if not equals:
        raise GrammarError("Invalid param format. Expected 'name=val1,val2,...'")
    if not name:
        raise GrammarError("Parameter name cannot be empty")
    values = None
    if 1 <= rest.count(":") <= 2 and "," not in rest:
        values = _range(rest)
    if values is None:
        values = [value for value in (part.strip() for part in rest.split(",")) if value]
    if not values:
        raise GrammarError("Parameter must have at least one value")
    return name, values


def _range(text: str) -> list[str] | None:
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if any(number != number or abs(number) > 1e300 for number in numbers):
        return None
    start, stop = numbers[:2]
    step = numbers[2] if len(numbers) == 3 else (1.0 if stop >= start else -1.0)
    if step == 0:
        raise GrammarError("Step cannot be zero")
    if (stop - start) * step < 0:
        raise GrammarError("Step direction doesn't match start/stop")
    count = int((stop - start) / step + 1e-10) + 1
    if count > _MAX_SWEEP:
        raise GrammarError(f"Range too large (max {_MAX_SWEEP} values)")
    places = len(parts[-1].partition(".")[2]) if len(parts) == 3 else 0
    values = [start + index * step for index in range(count)]
    return [f"{v:.0f}" if v == int(v) else f"{v:.{max(places, 1)}f}" for v in values]

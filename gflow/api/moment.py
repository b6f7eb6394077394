"""How moments are written: begin times and points of the past, in local time."""

from __future__ import annotations

import re
import time

from gflow.api.quantity import GrammarError, parse_duration, quoted

_AGO = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?", re.ASCII)
_TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([ap]m)?", re.ASCII)
#: A begin time that passed so long ago counts as now: clocks differ, and requests take their time.
TOLERANCE_S = 60.0
_DAY_WORDS_S = {"midnight": 0, "fika": 15 * 3600, "teatime": 16 * 3600, "noon": 12 * 3600}


def parse_moment(text: str, now: float) -> float:
    """Epoch seconds of a local time that is written, seen from ``now`` (sbatch(1), --begin).

    ``now+2h`` (a bare number is seconds), ``16:00``, ``4:30pm`` and ``noon`` (the next one),
    ``tomorrow``, ``2026-01-20``, ``2026-01-20T12:34:00``, or epoch seconds as ``@1700000000``.
    """
    word = text.strip().lower()
    moment = _relative_moment(word, now)
    if moment is None:
        moment = _time_of_day(word, now)
    if moment is None:
        moment = _date(text.strip())
    if moment is None or not 0 <= moment < 1 << 36:
        raise GrammarError(
            f"the moment {quoted(text)} is not understood: "
            "now+2h, 16:00, tomorrow, 2026-01-20 or 2026-01-20T12:34"
        )
    return moment


def check_begin(begin_at: float, now: float) -> float:
    """The begin time itself, unless it has passed by more than clocks may differ.

    Raises GrammarError with the end of a sentence that begins with what was written.
    """
    if begin_at < now - TOLERANCE_S:
        written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begin_at))
        raise GrammarError(f"has passed ({written}): now, now+2h, 16:00, tomorrow or a later date")
    return begin_at


def parse_begin(text: str, now: float) -> float:
    """As :func:`parse_moment`, for a moment that is still to come."""
    moment = parse_moment(text, now)
    try:
        return check_begin(moment, now)
    except GrammarError as error:
        raise GrammarError(f"the moment {quoted(text)} {error}") from None


def parse_past(text: str, now: float) -> float:
    """Epoch seconds of a moment gone by: ``2h`` or ``7d`` ago, ``today``, ``yesterday``, a date."""
    word = text.strip().lower()
    if _AGO.fullmatch(word):
        return now - (parse_duration(word) or 0.0)
    if word == "yesterday":
        return _midnight(now, -1)
    if word == "today":
        return _midnight(now, 0)
    moment = _date(text.strip())
    if moment is not None:
        return moment
    try:
        return parse_moment(text, now)
    except GrammarError:
        raise GrammarError(
            f"the moment {quoted(text)} is not understood: "
            "2h or 7d (ago), today, yesterday, 2026-01-20 or 2026-01-20T12:34"
        ) from None


def _relative_moment(word: str, now: float) -> float | None:
    if word.startswith("@") and word[1:].isdigit() and word.isascii() and len(word) <= 12:
        return float(word[1:])
    if word == "now":
        return now
    if word == "today":
        return now
    if word == "tomorrow":
        return _midnight(now, 1)
    if not word.startswith("now+"):
        return None
    rest = word[4:].strip()
    for name in ("second", "minute", "hour", "day", "week"):
        rest = re.sub(rf"\s*{name}s?$", name[0], rest)
    seconds = float(rest) if rest.isdigit() and len(rest) < 12 else parse_duration(rest)
    return None if seconds is None else now + seconds


def _midnight(now: float, days: int) -> float:
    local = time.localtime(now)
    return time.mktime((local.tm_year, local.tm_mon, local.tm_mday + days, 0, 0, 0, 0, 0, -1))


def _time_of_day(word: str, now: float) -> float | None:
    if word in _DAY_WORDS_S:
        hour, minute, second = _DAY_WORDS_S[word] // 3600, 0, 0
    else:
        match = _TIME_OF_DAY.fullmatch(word)
        if match is None:
            return None
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        if match[4]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if match[4] == "pm" else 0)
        if hour > 23 or minute > 59 or second > 59:
            return None
    local = time.localtime(now)
    for day in (local.tm_mday, local.tm_mday + 1):
        moment = time.mktime((local.tm_year, local.tm_mon, day, hour, minute, second, 0, 0, -1))
        if moment > now:
            return moment
    return None


def _date(text: str) -> float | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 23 and minute <= 59 and second <= 59):
        return None
    try:
        moment = time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
    except (OverflowError, ValueError):
        return None
    # mktime(3) turns the 31st of February into a day of March: that is a slip, not a date.
    return moment if time.localtime(moment).tm_mday == day else None

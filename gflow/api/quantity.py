"""How times, sizes, counters, limits and signals are written, and how they are shown.

Used by commands and server alike, so only cheap parts of the standard library. Every parser raises
GrammarError with one sentence that quotes what was written and says what would do.
"""

from __future__ import annotations

import re

#: A hundred years; longer is a slip of the keyboard.
MAX_DURATION_S = 100 * 366 * 86400.0
MAX_SIZE_BYTES = 2**53
#: getrlimit(2), without RLIMIT_; LOCKS means nothing since Linux 2.4.25.
RLIMITS = (
    *("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE"),
    *("NICE", "NOFILE", "NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
)
#: setrlimit(2): RLIM_INFINITY as Python's resource module shows it.
UNLIMITED = -1

_MAX_RLIMIT = 2**63 - 1
_UNLIMITED_WORDS = frozenset({"unlimited", "infinite", "infinity", "none"})
_DURATION_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SIZE_UNITS = {"": 1 << 20, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

_UNIT_PARTS = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+", re.ASCII)
_UNIT_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([BKMGT]?)(?:I?B)?", re.ASCII)


class GrammarError(ValueError):
    """What was written means nothing; ``str(error)`` is a sentence that says why."""


def quoted(text: str, limit: int = 60) -> str:
    """The text in quotes for a message: shortened, control characters escaped."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return "'" + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown) + "'"


def parse_duration(text: str) -> float | None:
    """Seconds; None for ``unlimited``. A bare number is minutes (sbatch(1), --time).

    ``30``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``, and ``90s``, ``2h``, ``1d12h``.
    """
    word = text.strip().lower()
    if word in _UNLIMITED_WORDS:
        return None
    if _UNIT_PARTS.fullmatch(word):
        seconds = sum(float(n) * _DURATION_UNITS_S[unit] for n, unit in _UNIT_PART.findall(word))
    else:
        seconds = _clock_seconds(word, text)
    if seconds > MAX_DURATION_S:
        raise GrammarError(f"the time {quoted(text)} is longer than a hundred years")
    return seconds


def _clock_seconds(word: str, text: str) -> float:
    match = _CLOCK.fullmatch(word)
    if match is None or len(word) > 40:
        raise GrammarError(
            f"the time {quoted(text)} is not understood: "
            "minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S, or 90s, 30m, 2h, 1d"
        )
    days, first, second, third = match.groups()
    if days is not None:
        hours, minutes, seconds = int(first), int(second or 0), int(third or 0)
    elif second is None:
        days, hours, minutes, seconds = 0, 0, int(first), 0
    elif third is None:
        days, hours, minutes, seconds = 0, 0, int(first), int(second)
    else:
        days, hours, minutes, seconds = 0, int(first), int(second), int(third)
    return float(int(days) * 86400 + hours * 3600 + minutes * 60 + seconds)


def format_duration(seconds: float | None) -> str:
    """As squeue(1) shows times: ``M:SS``, ``H:MM:SS``, ``D-HH:MM:SS``; "UNLIMITED" for None."""
    if seconds is None:
        return "UNLIMITED"
    total = max(0, int(seconds))
    days, rest = divmod(total, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{secs:02}"
    if hours:
        return f"{hours}:{minutes:02}:{secs:02}"
    return f"{minutes}:{secs:02}"


def parse_size(text: str) -> int:
    """Bytes. Units K, M, G, T are powers of 1024; a bare number is megabytes (sbatch(1), --mem)."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None or len(text) > 40:
        raise GrammarError(f"the size {quoted(text)} is not understood: 500M, 20G, 1.5T or 512K")
    size = float(match[1]) * _SIZE_UNITS[match[2]]
    if size > MAX_SIZE_BYTES:
        raise GrammarError(f"the size {quoted(text)} is larger than any machine's")
    return int(size)


def format_size(size_bytes: int | None) -> str:
    """``512B``, ``1.5G``: three digits at most; "-" for None."""
    if size_bytes is None:
        return "-"
    if size_bytes < 1024:
        return f"{size_bytes}B"
    value = float(size_bytes)
    for unit in "KMGTP":
        value /= 1024
        if value < 999.5 or unit == "P":
            break
    return f"{value:.1f}{unit}" if value < 9.95 and value % 1 else f"{value:.0f}{unit}"


def parse_signal(text: str) -> int:
    """Number of a signal that is written as ``TERM``, ``SIGTERM`` or ``15``."""
    import signal

    word = text.strip().upper()
    if word.isascii() and word.isdigit() and len(word) <= 3:
        number = int(word)
    else:
        named = signal.__dict__.get("SIG" + word.removeprefix("SIG"))
        number = int(named) if isinstance(named, signal.Signals) else 0
    if not 1 <= number < signal.NSIG:
        raise GrammarError(f"no signal is called {quoted(text)}: TERM, KILL, USR1, or 1 to 64")
    return number


#: Before the end, when nobody says how long (sbatch(1), --signal).
WARNING_S = 60.0


def parse_warning(text: str) -> dict[str, int | float | bool]:
    """``{signal, before_s, tree}`` of ``USR1``, ``USR1@300`` (seconds or ``5m``), ``B:USR1@300``.

    As sbatch(1), --signal: ``B:`` means the command alone, else every process of the job.
    """
    word = text.strip()
    alone = word[:2].upper() == "B:"
    name, at, time = (word[2:] if alone else word).partition("@")
    before_s: float | None = WARNING_S
    if at:
        before_s = parse_duration(f"{time}s" if time.isascii() and time.isdigit() else time)
    if before_s is None:
        raise GrammarError(f"the signal {quoted(text)} needs a time before the end: USR1@60")
    return {"signal": parse_signal(name), "before_s": before_s, "tree": not alone}


def signal_name(number: int) -> str:
    """``SIGTERM``; the number in digits where there is no name."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def parse_rlimit(text: str) -> tuple[str, int, int]:
    """(name, soft, hard) of ``NOFILE=1024`` or ``core=0:unlimited``; K, M, G, T may follow."""
    name, equals, values = text.partition("=")
    name = name.strip().upper().removeprefix("RLIMIT_")
    if not equals or name not in RLIMITS:
        raise GrammarError(
            f"the limit {quoted(text)} is not understood: NAME=SOFT[:HARD] with NAME one of "
            + ", ".join(RLIMITS)
        )
    soft, colon, hard = values.partition(":")
    numbers = (_limit_value(soft, text), _limit_value(hard if colon else soft, text))
    if numbers[1] != UNLIMITED and (numbers[0] == UNLIMITED or numbers[0] > numbers[1]):
        raise GrammarError(f"the limit {quoted(text)} has a soft value above the hard one")
    return name, *numbers


def _limit_value(word: str, text: str) -> int:
    word = word.strip().lower()
    if word in _UNLIMITED_WORDS:
        return UNLIMITED
    if word.isascii() and word.isdigit() and len(word) <= 19:
        value = int(word)
    elif word[-1:] in "kmgt" and word[:-1].isascii() and word[:-1].isdigit() and len(word) < 15:
        value = int(word[:-1]) * _SIZE_UNITS[word[-1].upper()]
    else:
        raise GrammarError(f"the limit {quoted(text)} needs numbers or 'unlimited'")
    if value > _MAX_RLIMIT:
        raise GrammarError(f"the limit {quoted(text)} is too large")
    return value


def parse_counts(text: str) -> dict[str, int]:
    """Named counters: ``license:2,disk`` (sbatch(1), --gres); a bare name counts 1."""
    counts: dict[str, int] = {}
    for item in text.split(","):
        name, colon, number = item.strip().partition(":")
        if not colon:
            name, colon, number = item.strip().partition("=")
        digits = number if colon else "1"
        if not (name and digits.isascii() and digits.isdigit() and len(digits) <= 15):
            raise GrammarError(f"the counters {quoted(text)} are not understood: license:2,disk")
        counts[name] = counts.get(name, 0) + int(digits)
    return counts


def nearest(word: str, known: list[str], *, cutoff: float = 0.5) -> str | None:
    """The known word that was probably meant; None when none is close."""
    import difflib

    near = difflib.get_close_matches(word[:100], known, n=1, cutoff=cutoff)
    return near[0] if near else None

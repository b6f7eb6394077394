"""Checks of single values in a JSON spec.

A check takes what JSON gave and returns the model's value, or raises Invalid with the end of a
sentence that begins with the key: "must be a whole number from 1 to 4, not 9".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from gflow.api import grammar, quantity
from gflow.api import sweep as sweeps
from gflow.api.operations import JobReference
from gflow.api.quantity import GrammarError, quoted
from gflow.model import parameter
from gflow.model.job import RetryRule, WarningSignal

Check = Callable[[Any], Any]
Range = tuple[int, int, int]

MAX_SECONDS = quantity.MAX_DURATION_S
#: What a command given as one string is run by.
SHELL = ("bash", "-c")

_MAX_WORDS = 100_000
_MAX_COMMAND_BYTES = 4 << 20
_MAX_PATH = 4096


class Invalid(ValueError):
    """The value cannot be used; see the module for what the text is."""


class Condition(NamedTuple):
    """A dependency whose jobs are still as they were written."""

    type: str
    jobs: tuple[JobReference, ...]
    delay_s: float


def kind(value: object) -> str:
    """What JSON calls the value, with its article."""
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


# --- plain values -------------------------------------------------------------------------------


def boolean(value: Any) -> bool:
    """true or false, nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise Invalid(f"must be true or false, not {kind(value)}")
    return value


def integer(low: int, high: int) -> Check:
    """A whole number within bounds."""

    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid(f"must be a whole number, not {_shown(value)}")
        if not low <= value <= high:
            raise Invalid(f"must be from {low} to {high}, not {_shown(value)}")
        return value

    return check


def number(low: float, high: float) -> Check:
    """A finite number within bounds, as a float."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Invalid(f"must be a number, not {_shown(value)}")
        if not low <= value <= high or math.isnan(value):
            raise Invalid(f"must be from {low:.12g} to {high:.12g}, not {_shown(value)}")
        return float(value)

    return check


def choice(*words: str) -> Check:
    """One of some words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise Invalid(f"must be one of {', '.join(words)}, not {_shown(value)}")
        return value

    return check


def optional(check: Check) -> Check:
    """The check itself: says in a table that null clears the field."""
    return check


def mapping(value: Any) -> dict[str, Any]:
    """An object whose content is checked elsewhere."""
    if not isinstance(value, dict):
        raise Invalid(f"must be an object, not {kind(value)}")
    return value


# --- text ---------------------------------------------------------------------------------------


def line(value: Any) -> str:
    """Text that a program can be given: valid Unicode without a NUL byte."""
    if not isinstance(value, str):
        raise Invalid(f"must be a string, not {kind(value)}")
    if "\0" in value:
        raise Invalid("must not contain a NUL byte")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Invalid("must be valid UTF-8") from None
    return value


def text(limit: int, *, empty: bool = True) -> Check:
    """Text of at most ``limit`` characters."""

    def check(value: Any) -> str:
        checked = line(value)
        if len(checked) > limit:
            raise Invalid(f"must have at most {limit} characters, not {len(checked)}")
        if not checked and not empty:
            raise Invalid("must not be empty")
        return checked

    return check


def shell_line(value: Any) -> str:
    """A line that the shell can make something of."""
    checked = line(value)
    if not checked.strip():
        raise Invalid("must not be empty")
    if len(checked) > 64 << 10:
        raise Invalid(f"must have at most {64 << 10} characters, not {len(checked)}")
    return checked


def path(value: Any) -> str:
    """A path, absolute or relative to the job's cwd; whether it is there shows at start."""
    checked = line(value)
    if not checked or len(checked.encode()) >= _MAX_PATH:
        raise Invalid(f"must be a path of 1 to {_MAX_PATH - 1} bytes")
    return checked


def absolute_path(value: Any) -> str:
    """A path from the root."""
    checked = path(value)
    if not checked.startswith("/"):
        raise Invalid(f"must be an absolute path, not {quoted(checked)}")
    return checked


def words(value: Any) -> tuple[str, ...]:
    """Arguments of a program."""
    if not isinstance(value, list):
        raise Invalid(f"must be a list of strings, not {kind(value)}")
    if len(value) > _MAX_WORDS:
        raise Invalid(f"must have at most {_MAX_WORDS} words, not {len(value)}")
    checked = tuple(map(line, value))
    if sum(map(len, checked)) > _MAX_COMMAND_BYTES:
        raise Invalid(f"must have at most {_MAX_COMMAND_BYTES} characters in all")
    return checked


def command(value: Any) -> tuple[str, ...]:
    """An argument list; a string is given to the shell."""
    if isinstance(value, str):
        if not value.strip():
            raise Invalid("must not be empty")
        return (*SHELL, *words([value]))
    checked = words(value)
    if not checked:
        raise Invalid("must not be empty")
    return checked


def strings(value: Any) -> tuple[tuple[str, str], ...]:
    """An object of strings, in its own order."""
    return tuple((line(name), line(item)) for name, item in mapping(value).items())


def warning(value: Any) -> WarningSignal:
    """``"B:USR1@60"`` (see :func:`quantity.parse_warning`), or the object that stands for it."""
    if isinstance(value, str):
        try:
            value = quantity.parse_warning(line(value))
        except GrammarError as error:
            raise Invalid(f"cannot be used: {error}") from None
    given = mapping(value)
    if given.keys() - {"signal", "before_s", "tree"} or "signal" not in given:
        raise Invalid("may have the keys signal, before_s and tree, and must have a signal")
    return WarningSignal(
        signal=integer(1, 64)(given["signal"]),
        before_s=number(0, MAX_SECONDS)(given.get("before_s", quantity.WARNING_S)),
        tree=boolean(given.get("tree", True)),
    )


# --- resources ----------------------------------------------------------------------------------


def counts(value: Any) -> tuple[tuple[str, int], ...]:
    """Named counters, sorted by name, zeros left out."""
    at_least_0 = integer(0, 1 << 53)
    items = [(text(256, empty=False)(name), at_least_0(n)) for name, n in mapping(value).items()]
    return tuple(sorted(item for item in items if item[1]))


def integers(low: int, high: int) -> Check:
    """Distinct whole numbers, ascending."""
    check_one = integer(low, high)

    def check(value: Any) -> tuple[int, ...]:
        if not isinstance(value, list):
            raise Invalid(f"must be a list of whole numbers, not {kind(value)}")
        if len(value) > high - low + 1:
            raise Invalid("names a number twice")
        return tuple(sorted({check_one(item) for item in value}))

    return check


def rlimits(value: Any) -> tuple[tuple[str, int, int], ...]:
    """``{"NOFILE": 1024, "CORE": [0, -1]}`` (soft, hard; -1 is unlimited), sorted by name."""
    limits = []
    for name, given in mapping(value).items():
        if name not in quantity.RLIMITS:
            raise Invalid(f"has no limit {quoted(name)}: {', '.join(quantity.RLIMITS)}")
        pair = given if isinstance(given, list) else [given, given]
        if len(pair) != 2:
            raise Invalid(f"of {name} must be a number or [soft, hard]")
        soft, hard = (integer(-1, (1 << 63) - 1)(item) for item in pair)
        if hard != quantity.UNLIMITED and (soft == quantity.UNLIMITED or soft > hard):
            raise Invalid(f"of {name} has a soft value above the hard one")
        limits.append((name, soft, hard))
    return tuple(sorted(limits))


# --- arrays, dependencies, retries --------------------------------------------------------------


def array(value: Any) -> tuple[tuple[Range, ...], int | None]:
    """``"1-100%4"``, or ``{"ranges": [[first, last, step], …], "limit": 4}``."""
    if isinstance(value, str):
        try:
            ranges, limit = grammar.parse_array(value)
        except GrammarError as error:
            raise Invalid(f"cannot be used: {error}") from None
        return tuple(ranges), limit
    given = mapping(value)
    if given.keys() - {"ranges", "limit"} or not isinstance(given.get("ranges"), list):
        raise Invalid('must be an expression such as "1-100%4", or {"ranges", "limit"}')
    limit = given.get("limit")
    if limit is not None:
        limit = integer(1, grammar.MAX_TASK)(limit)
    if not 1 <= len(given["ranges"]) <= grammar.MAX_LISTED:
        raise Invalid("has no task" if not given["ranges"] else "has too many ranges")
    try:
        ranges = grammar.disjoint_ranges([_range(item) for item in given["ranges"]])
    except GrammarError as error:
        raise Invalid(f"cannot be used: {error}") from None
    return tuple(ranges), limit


def _range(value: Any) -> Range:
    if not isinstance(value, list) or not 1 <= len(value) <= 3:
        raise Invalid("must have ranges of [first, last, step]")
    task = integer(0, grammar.MAX_TASK)
    first = task(value[0])
    last = task(value[1]) if len(value) > 1 else first
    step = integer(1, grammar.MAX_TASK)(value[2]) if len(value) > 2 else 1
    if last < first:
        raise Invalid(f"has a range that ends before it begins: {first} to {last}")
    return first, last - (last - first) % step, step


def reference(value: Any) -> JobReference:
    """A job as a number or as users write it: ``7``, ``"7_3"``, ``"@~1"``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return JobReference(id=integer(1, grammar.MAX_ID)(value))
    try:
        job_id, task, back = grammar.parse_reference(line(value))
    except GrammarError as error:
        raise Invalid(f"cannot be used: {error}") from None
    return JobReference(job_id, task, back)


def dependencies(value: Any) -> tuple[str, tuple[Condition, ...]]:
    """("all" or "any", conditions): a list of ``{"type", "jobs", "delay_s"}``, or an expression."""
    if isinstance(value, str):
        try:
            mode, written = grammar.parse_dependencies(value)
        except GrammarError as error:
            raise Invalid(f"cannot be used: {error}") from None
        return mode, tuple(
            Condition(type_, tuple(map(reference, jobs)), delay_s)
            for type_, jobs, delay_s in written
        )
    if not isinstance(value, list):
        raise Invalid(f"must be a list or an expression such as afterok:7, not {kind(value)}")
    return "all", tuple(map(_condition, value))


def _condition(value: Any) -> Condition:
    given = mapping(value)
    if given.keys() - {"type", "jobs", "delay_s"}:
        raise Invalid("may have the keys type, jobs and delay_s only")
    type_ = choice(*grammar.DEPENDENCY_TYPES)(given.get("type"))
    jobs = given.get("jobs", [])
    if not isinstance(jobs, list) or len(jobs) > grammar.MAX_LISTED:
        raise Invalid("must name its jobs in a list")
    if bool(jobs) == (type_ == "singleton"):
        raise Invalid(f"of type {type_} must name {'no' if jobs else 'at least one'} job")
    delay_s = number(0, MAX_SECONDS)(given.get("delay_s", 0.0))
    if delay_s and type_ != "after":
        raise Invalid("has a delay_s: only the type after takes one")
    return Condition(type_, tuple(map(reference, jobs)), delay_s)


def retries(value: Any) -> tuple[RetryRule, ...]:
    """A number (for any cause), or a list of ``{"cause", "times", "scale"}`` and ``"oom:2"``."""
    times = integer(0, 1_000_000)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        allowed = times(value)
        return (RetryRule("any", allowed),) if allowed else ()
    rules = [_written_rule(item) if isinstance(item, str) else _rule(item) for item in value]
    causes = [rule.cause for rule in rules]
    for cause in causes:
        if causes.count(cause) > 1:
            raise Invalid(f"has two rules for {cause}")
    return tuple(rules)


def _written_rule(text: str) -> RetryRule:
    try:
        cause, times, scale = grammar.parse_retry(line(text))
    except GrammarError as error:
        raise Invalid(f"cannot be used: {error}") from None
    return RetryRule(cause, times, tuple(scale.items()))


def _rule(value: Any) -> RetryRule:
    given = mapping(value)
    if given.keys() - {"cause", "times", "scale"}:
        raise Invalid("may have the keys cause, times and scale only")
    cause = line(given.get("cause", "any"))
    try:
        known = grammar.parse_retry_cause(cause, cause)
    except GrammarError as error:
        raise Invalid(f"cannot be used: {error}") from None
    return RetryRule(
        known, integer(0, 1_000_000)(given.get("times", 1)), _scale(given.get("scale"))
    )


def _scale(value: Any) -> tuple[tuple[str, float], ...]:
    if value is None:
        return ()
    factor = number(0.01, 100)
    return tuple(
        (choice(*grammar.SCALABLE)(name), factor(given)) for name, given in mapping(value).items()
    )


def sweep(value: Any) -> parameter.Sweep:
    """``[{"lr": ["0.1", "0.01"]}, {"a": […], "b": […]}]``: a product of tables; an object is one
    table for each of its names."""
    if isinstance(value, dict):
        value = [{name: values} for name, values in value.items()]
    if not isinstance(value, list) or not value:
        raise Invalid('must be a list of tables such as {"lr": ["0.1", "0.01"]}')
    factors = [
        {name: _column(name, cells) for name, cells in mapping(one).items()} for one in value
    ]
    columns = [column for factor in factors for column in factor.values()]
    if sum(map(len, columns)) > sweeps.MAX_VALUES:
        raise Invalid(f"has more than {sweeps.MAX_VALUES} values")
    if sum(map(len, (cell for column in columns for cell in column))) > sweeps.MAX_CHARACTERS:
        raise Invalid(f"has more than {sweeps.MAX_CHARACTERS} characters")
    for factor in factors:
        if len(set(map(len, factor.values()))) != 1:
            raise Invalid("has a table whose columns are of different lengths, or none")
    try:
        sweeps.check_together(factors)
    except GrammarError as error:
        raise Invalid(f"cannot be used: {error}") from None
    return sweeps.to_sweep(factors)


def _column(name: str, value: Any) -> list[str]:
    try:
        sweeps.check_name(name)
    except GrammarError as error:
        raise Invalid(f"cannot be used: {error}") from None
    if not isinstance(value, list) or not value:
        raise Invalid(f"must give {name} a list of values")
    if any(type(item) not in (str, int, float) for item in value):
        raise Invalid(f"must give {name} strings or numbers")
    return [line(item) if isinstance(item, str) else str(item) for item in value]


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return kind(value)
    if isinstance(value, str):
        return quoted(value, 30)
    return str(value) if abs(value) < 10**30 else "a number of that size"

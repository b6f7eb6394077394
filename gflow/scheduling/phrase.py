"""How refusals and explanations write amounts, for people."""

from __future__ import annotations


def size(size_bytes: int) -> str:
    """``1.5T``, ``23.5G``, ``512M``: the largest unit that leaves a few digits."""
    if size_bytes >= 1000 << 30:
        return f"{size_bytes / (1 << 40):.4g}T"
    if size_bytes >= 1 << 30:
        return f"{size_bytes / (1 << 30):.4g}G"
    return f"{size_bytes / (1 << 20):.4g}M"


def duration(seconds: float) -> str:
    """``M:SS`` or ``H:MM:SS``; 0:00 for what has passed."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def amount(name: str, count: int) -> str:
    """``2 gpus``, ``1 cpu``, ``4G of memory`` for a field of Resources, or a named counter."""
    if name == "memory_bytes":
        return f"{size(count)} of memory"
    one = count == 1 and name in ("cpus", "gpus")
    return f"{count} {name.removesuffix('s') if one else name}"

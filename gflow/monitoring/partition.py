"""Cards that are split in hardware (MIG): each part is given out like a card of its own.

A part has a UUID, memory and processes; load, health and place are those of the whole card. CUDA
shows a process one part at most, and knows it by its UUID alone (MIG User Guide, "CUDA visible
devices").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: A call's answer; None when the driver has none.
Ask = Callable[..., Any]


def parts(nvml: Any, ask: Ask, handle: Any) -> list[Any] | None:
    """Handles of a card's parts; None: it is not split."""
    mode = ask(nvml.nvmlDeviceGetMigMode, handle)
    if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    count = ask(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    found = (ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, n) for n in range(count))
    return [part for part in found if part is not None]

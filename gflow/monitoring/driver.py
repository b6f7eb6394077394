"""The cards as their driver sees them: NVML through nvidia-ml-py, one call at a time.

Any call may hang, so only the gpu process makes them. What a card cannot tell (consumer cards have
no ECC, some virtual ones no temperature) is None; only its identity and its memory are required.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gflow.monitoring import partition

_LIBRARY = "libnvidia-ml.so.1"
#: Errors of an application, not of the card (as NVIDIA's device plugin for Kubernetes has it:
#: https://docs.nvidia.com/deploy/xid-errors).
_APPLICATION_XIDS = frozenset((13, 31, 43, 45, 68, 109))
_LINKS = 18

Card = dict[str, Any]


class DriverAbsent(Exception):
    """There is no driver library, or nothing to speak to it with; the sentence says which."""


class DriverFailed(Exception):
    """The driver refused a call that everything depends on; the sentence is NVML's."""


class Usage(NamedTuple):
    """What is on a card now."""

    used_bytes: int
    #: (pid, bytes): None where the driver does not tell them apart.
    processes: list[tuple[int, int | None]]


class Driver:
    """An open NVML. Raises DriverAbsent or DriverFailed."""

    def __init__(self) -> None:
        try:
            ctypes.CDLL(_LIBRARY)
        except OSError:
            raise DriverAbsent(f"there is no {_LIBRARY}") from None
        try:
            self._nvml: Any = importlib.import_module("pynvml")
        except ImportError:
            raise DriverAbsent(
                f"{_LIBRARY} is there, but nvidia-ml-py is not installed: "
                "pip install 'gflow-scheduler[gpu]'"
            ) from None
        self._events: Any = None
        #: uuid → NVML's handle.
        self._handles: dict[str, Any] = {}
        #: The same, of the whole card where it is one's part.
        self._wholes: dict[str, Any] = {}
        self._xids: dict[str, list[int]] = {}
        self.loaded = True
        self._open()

    def _open(self) -> None:
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            self.version = str(nvml.nvmlSystemGetDriverVersion())
        except nvml.NVMLError as error:
            # A machine may have the library and no card: images for CUDA do.
            if error.value == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
                self.loaded = False
                self.version = ""
                return
            raise DriverFailed(str(error)) from None

    def reopen(self) -> None:
        """Look for cards anew: NVML counts them once. Raises DriverFailed."""
        self._ask(self._nvml.nvmlShutdown)
        self._events = None
        self.loaded = True
        self._open()

    def find(self) -> Iterator[Card]:
        """Cards in the order of their PCI addresses, as ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` counts.

        ``{uuid, name, bus_id, memory_bytes, split}``. A card that has fallen off the bus is left
        out; the parts of one stand in its place. ``split``: a whole card that has no parts yet.
        """
        self._handles, self._wholes = {}, {}
        if not self.loaded:
            return
        nvml = self._nvml
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            raise DriverFailed(str(error)) from None
        found = []
        for index in range(count):
            whole = self._ask(nvml.nvmlDeviceGetHandleByIndex, index)
            if not whole:
                continue
            pci = self._ask(nvml.nvmlDeviceGetPciInfo, whole)
            bus_id = str(_text(pci.busId)) if pci is not None else f"{index:08x}"
            parts = partition.parts(nvml, self._ask, whole)
            found += [(bus_id, n, handle, whole) for n, handle in enumerate(parts or [whole])]
        for bus_id, _, handle, whole in sorted(found, key=lambda one: one[:2]):
            uuid = _text(self._ask(nvml.nvmlDeviceGetUUID, handle))
            memory = uuid and self._memory(handle)
            if not uuid or not memory:
                continue
            self._handles[uuid], self._wholes[uuid] = handle, whole
            split = handle is whole and partition.parts(nvml, self._ask, whole) is not None
            yield {
                "uuid": uuid,
                "name": _text(self._ask(nvml.nvmlDeviceGetName, handle)),
                "bus_id": bus_id,
                "memory_bytes": memory[0],
                "split": split,
            }

    def usage(self, uuid: str) -> Usage | None:
        """What is on a card; None: it is gone."""
        handle = self._handles.get(uuid)
        memory = handle and self._memory(handle)
        if not memory:
            return None
        listed = self._ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
        return Usage(memory[1], [(one.pid, one.usedGpuMemory) for one in listed])

    def load(self, uuid: str) -> Card:
        """``{utilisation, temperature_c, power_w}`` of a card now; utilisation from 0 to 1."""
        nvml, handle = self._nvml, self._wholes[uuid]
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, self._handles[uuid])
        power_mw = self._ask(nvml.nvmlDeviceGetPowerUsage, handle)
        return {
            "utilisation": None if rates is None else rates.gpu / 100,
            "temperature_c": self._temperature(handle),
            "power_w": None if power_mw is None else power_mw / 1000,
        }

    def faults(self, uuid: str) -> list[str]:
        """Why nothing should run on the card; empty for a sound one. An Xid is told once."""
        nvml, handle = self._nvml, self._wholes[uuid]
        found = [f"Xid {number}" for number in self._xids.pop(uuid, ())]
        errors = self._ask(
            nvml.nvmlDeviceGetTotalEccErrors,
            handle,
            nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            nvml.NVML_VOLATILE_ECC,
        )
        if errors:
            found.append(f"{errors} uncorrected memory errors")
        rows = self._ask(nvml.nvmlDeviceGetRemappedRows, handle)
        if rows is not None and rows[3]:
            found.append("a failed row of memory that could not be replaced")
        hot_c = self._ask(
            nvml.nvmlDeviceGetTemperatureThreshold,
            handle,
            nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
        )
        now_c = self._temperature(handle)
        if hot_c and now_c is not None and now_c >= hot_c:
            found.append(f"too hot (over {hot_c} °C)")
        return found

    def watch_xids(self) -> None:
        """Remember which cards report errors of their own from now on; call it in every round."""
        nvml = self._nvml
        if self._events is None:
            self._events = self._ask(nvml.nvmlEventSetCreate)
            for handle in self._wholes.values() if self._events is not None else ():
                self._ask(
                    nvml.nvmlDeviceRegisterEvents,
                    handle,
                    nvml.nvmlEventTypeXidCriticalError,
                    self._events,
                )
        if self._events is None:
            return
        while (event := self._ask(nvml.nvmlEventSetWait, self._events, 0)) is not None:
            number = int(event.eventData)
            name = _text(self._ask(nvml.nvmlDeviceGetUUID, event.device))
            for uuid in self._on_card(name) if number not in _APPLICATION_XIDS else ():
                known = self._xids.setdefault(uuid, [])
                if number not in known:
                    known.append(number)

    def _on_card(self, name: str | None) -> list[str]:
        """UUIDs of the card of this UUID, or of its parts."""
        nvml = self._nvml
        if name in self._handles:
            return [str(name)]
        return [
            uuid
            for uuid, whole in self._wholes.items()
            if name and _text(self._ask(nvml.nvmlDeviceGetUUID, whole)) == name
        ]

    def neighbours(self, one: str, two: str) -> bool | None:
        """Whether two cards are joined by NVLink or below one host bridge; None: not known."""
        nvml = self._nvml
        first, second = self._wholes[one], self._wholes[two]
        pci = self._ask(nvml.nvmlDeviceGetPciInfo, second)
        for link in range(_LINKS):
            remote = self._ask(nvml.nvmlDeviceGetNvLinkRemotePciInfo, first, link)
            if remote is None:
                break
            if pci is not None and _text(remote.busId) == _text(pci.busId):
                return True
        level = self._ask(nvml.nvmlDeviceGetTopologyCommonAncestor, first, second)
        return None if level is None else bool(level <= nvml.NVML_TOPOLOGY_HOSTBRIDGE)

    def _memory(self, handle: Any) -> tuple[int, int] | None:
        """(total, used) bytes; what the driver keeps for itself does not count where it says so."""
        nvml = self._nvml
        found = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle, nvml.nvmlMemory_v2)
        found = found or self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        return None if found is None else (int(found.total), int(found.used))

    def _temperature(self, handle: Any) -> int | None:
        nvml = self._nvml
        found = self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        return None if found is None else int(found)

    def _ask(self, call: Callable[..., Any], *words: Any) -> Any:
        """A call's answer; None when the driver has none."""
        try:
            return call(*words)
        except self._nvml.NVMLError:
            return None


def _text(value: Any) -> str | None:
    """NVML's strings are bytes in some versions of its binding."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value

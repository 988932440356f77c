"""The GPU's name, driver, clocks and temperature from NVIDIA's management library, within microseconds.

None stands for what the library does not say, or where there is no library. Nothing is ever set.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
SM, MEMORY = 1, 2
"""Of nvmlClockType_t."""
NAME_LENGTH = 96


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None


@cache
def _device() -> ctypes.c_void_p | None:
    library, handle = _library(), ctypes.c_void_p()
    if library is None or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)):
        return None
    return handle


def read() -> dict[str, Any] | None:
    """MHz of multiprocessors and memory, degrees Celsius, watts, and the bits of why clocks are held down."""
    library, device = _library(), _device()
    if library is None or device is None:
        return None

    def unsigned(function: str, *arguments: int, kind: type = ctypes.c_uint) -> int | None:
        value = kind()
        try:
            status = getattr(library, function)(device, *arguments, ctypes.byref(value))
        except AttributeError:
            return None
        return int(value.value) if status == 0 else None

    milliwatts = unsigned("nvmlDeviceGetPowerUsage")
    return {
        "sm_mhz": unsigned("nvmlDeviceGetClockInfo", SM),
        "memory_mhz": unsigned("nvmlDeviceGetClockInfo", MEMORY),
        "celsius": unsigned("nvmlDeviceGetTemperature", 0),
        "watts": None if milliwatts is None else milliwatts / 1e3,
        "held_down_by": unsigned("nvmlDeviceGetCurrentClocksThrottleReasons", kind=ctypes.c_ulonglong),
    }


@cache
def machine() -> dict[str, str | None]:
    """The GPU's name and the driver's version."""
    library, device = _library(), _device()
    if library is None or device is None:
        return {"gpu": None, "driver": None}
    return {
        "gpu": _text(library.nvmlDeviceGetName, device),
        "driver": _text(library.nvmlSystemGetDriverVersion),
    }


def _text(function: Any, *arguments: Any) -> str | None:
    buffer = ctypes.create_string_buffer(NAME_LENGTH)
    return buffer.value.decode() if function(*arguments, buffer, NAME_LENGTH) == 0 else None

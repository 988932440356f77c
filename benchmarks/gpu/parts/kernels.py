"""What the driver says of our kernels as they were built for this GPU: PTX and machine version, registers, and how many
blocks and clusters of them fit. From version 9.0 on, launches may overlap and clusters exist.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.tools import find_tool
from benchmarks.gpu.worker import Skip, Visit, main

ATTRIBUTES = {"shared": 1, "local": 3, "registers": 4, "ptx_version": 5, "binary_version": 6}
"""Of CUfunction_attribute."""
THREADS = 128
KINDS = ("stage", "throughput", "pair", "network")
"""Of kernels, as they are called."""
DYNAMIC_SHARED, NON_PORTABLE_CLUSTER = 8, 14
CLUSTER_DIMENSION = 4
"""Of CUlaunchAttributeID."""
CLUSTERS = ((2, 0), (4, 0), (8, 0), (8, 96 << 10), (8, 200 << 10), (16, 0))
"""Blocks of a cluster, and bytes of dynamic shared memory of a block."""


class _Value(ctypes.Union):
    _fields_ = (("pad", ctypes.c_char * 64), ("dimension", ctypes.c_uint * 3))


class _Attribute(ctypes.Structure):
    _fields_ = (("id", ctypes.c_int), ("pad", ctypes.c_char * 4), ("value", _Value))


class _Config(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", ctypes.c_uint),
    )


def run(visit: Visit) -> None:
    visit.case("limits", lambda: limits(visit), 30)
    visit.case("attributes", lambda: attributes(visit), 30)


def limits(visit: Visit) -> dict[str, Any]:
    """What the package takes the device for, the shared memory that its launches ask for, and clusters of pairs."""
    if not visit.setting.on_gpu:
        raise Skip("there is no driver to ask")
    from benchmarks.gpu.networks import device_of, fast_model
    from inception_fast.backends.cuda import native

    module, device = native(emulate=False), device_of(visit.setting)
    fast = fast_model(visit.work, visit.setting, "pair", visit.setting.precisions[0])
    shapes = fast.executor_for(device)[1].unrecorded(1).launch_shapes()
    pairs = sorted({shape for shape in shapes if shape[0] > 1})
    return {"device": module.device_limits(device.index), "shared_bytes": module.shared_bytes(), "pairs": pairs}


def attributes(visit: Visit) -> dict[str, Any]:
    """Of every kernel in the package's CUDA module."""
    if not visit.setting.on_gpu:
        raise Skip("there is no driver to ask")
    module = next((ROOT / "inception_fast").glob("_native_cuda*.so"), None)
    tool = find_tool("cuobjdump")
    if module is None or tool is None:
        raise Skip("the CUDA part is not built" if module is None else "cuobjdump is not found")
    known = visit.figures().get("limits", {})
    driver = Driver(known.get("shared_bytes", {}), known.get("pairs", ()))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([tool, "-xelf", "all", str(module)], cwd=folder, check=True, capture_output=True)
        found = [kernel for cubin in sorted(Path(folder).glob("*.cubin")) for kernel in driver.kernels(cubin)]
    multiprocessors = known.get("device", {}).get("multiprocessors")
    grids = resident_grids(found, multiprocessors) if multiprocessors else {}
    wrong = "" if found else "no kernel could be loaded"
    return {"driver": driver.version(), "kernels": found, "resident_grids": grids, "wrong": wrong}


def resident_grids(kernels: Sequence[Mapping[str, Any]], multiprocessors: int) -> dict[str, int]:
    """Blocks of each network kernel that are on the device at once."""
    network = [kernel for kernel in kernels if kind_of(kernel["name"]) == "network"]
    return {kernel["name"]: kernel["blocks_per_multiprocessor"] * multiprocessors for kernel in network}


def kind_of(name: str) -> str:
    """Of a kernel by its mangled name: ``stage``, ``throughput``, ``pair`` or ``network``; '' for any other."""
    return next((kind for kind in KINDS if f"{kind}_kernel" in name), "")


class Driver:
    """The CUDA driver's own interface, on the first device's primary context.

    Args:
        shared_bytes: dynamic shared memory of a block by the kind of its kernel.
        pairs: of each launch of pairs, the blocks of a cluster and that memory.
    """

    def __init__(self, shared_bytes: Mapping[str, int], pairs: Sequence[Sequence[int]]) -> None:
        self._shared_bytes, self._pairs = shared_bytes, pairs
        try:
            self._cuda = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise Skip(f"no CUDA driver: {error}") from error
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} returned {status}")

    def version(self) -> int:
        value = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(value))
        return value.value

    def kernels(self, cubin: Path) -> list[dict[str, Any]]:
        """What is known of each kernel of a file; none where it is for another GPU."""
        module, count = ctypes.c_void_p(), ctypes.c_uint()
        try:
            self._call("cuModuleLoadData", ctypes.byref(module), cubin.read_bytes())
        except RuntimeError:
            return []
        self._call("cuModuleGetFunctionCount", ctypes.byref(count), module)
        functions = (ctypes.c_void_p * count.value)()
        self._call("cuModuleEnumerateFunctions", functions, count.value, module)
        return [self._kernel(ctypes.c_void_p(function)) for function in functions]

    def _kernel(self, function: ctypes.c_void_p) -> dict[str, Any]:
        name = ctypes.c_char_p()
        self._call("cuFuncGetName", ctypes.byref(name), function)
        found: dict[str, Any] = {"name": (name.value or b"").decode()}
        for attribute, number in ATTRIBUTES.items():
            value = ctypes.c_int()
            self._call("cuFuncGetAttribute", ctypes.byref(value), number, function)
            found[attribute] = value.value
        kind = kind_of(found["name"])
        shared = max((n for _, n in self._pairs), default=0) if kind == "pair" else self._shared_bytes.get(kind, 0)
        blocks = ctypes.c_int()
        self._call("cuFuncSetAttribute", function, DYNAMIC_SHARED, shared)
        self._call(
            "cuOccupancyMaxActiveBlocksPerMultiprocessor",
            ctypes.byref(blocks),
            function,
            THREADS,
            ctypes.c_size_t(shared),
        )
        found["dynamic_shared"], found["blocks_per_multiprocessor"] = shared, blocks.value
        if found["ptx_version"] >= 90:
            wanted = [*CLUSTERS, *(self._pairs if kind == "pair" else ())]
            found["clusters"] = {f"{n} blocks, {size} bytes": self._clusters(function, n, size) for n, size in wanted}
        return found

    def _clusters(self, function: ctypes.c_void_p, blocks: int, shared: int) -> int | str:
        """How many clusters are resident on the device at once."""
        attribute = _Attribute(id=CLUSTER_DIMENSION)
        attribute.value.dimension[:] = (blocks, 1, 1)
        config = _Config((blocks * 64, 1, 1), (THREADS, 1, 1), shared, None, ctypes.pointer(attribute), 1)
        count = ctypes.c_int()
        try:
            self._call("cuFuncSetAttribute", function, DYNAMIC_SHARED, shared)
            self._call("cuFuncSetAttribute", function, NON_PORTABLE_CLUSTER, int(blocks > 8))
            self._call("cuOccupancyMaxActiveClusters", ctypes.byref(count), function, ctypes.byref(config))
        except RuntimeError as error:
            return str(error)
        return count.value


if __name__ == "__main__":
    main(run)

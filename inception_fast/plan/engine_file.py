"""The ``.ifast`` file: a Plan, its constants and what a caller must know, for Python and C++ to map into memory.

``docs/engine-file.md`` is the specification. Nothing in a file is executed, and nothing is allocated from a size that
the file claims before it was compared with the file itself.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
import stat
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Literal

import torch

from inception_fast._build_info import package_version
from inception_fast.errors import EngineFileError, InputError, PlanError
from inception_fast.plan import strict_json
from inception_fast.plan.check import MAX_QUANTIZED_BIAS
from inception_fast.plan.plan import (
    OPTIONAL,
    QUANTIZED,
    Constant,
    DepthwiseStep,
    GateStep,
    LocalResponseStep,
    PadStep,
    Plan,
    PoolStep,
    SoftmaxStep,
    Step,
    convolutions_of,
    destinations_of,
)
from inception_fast.plan.serialize import decode, encode
from inception_fast.plan.structure import tensors_in
from inception_fast.tensors import bytes_of

MAGIC = b"\x89IFAST\r\n"
VERSION = 6
"""The newest format; files of format 1 hold Plans that are not quantised, without sensitivities, which came with format
4; of format 2 those of 8 bits without Winograd's F(2, 3), which came with format 3; all of them only the kinds of
steps that there were before format 5, without activations; and bytes, NHWC images and pads came with format 6.
"""
HEADER = struct.Struct("<8sIIQQ")
"""Magic, format version, checksum, bytes of JSON, bytes of constants."""
CHECKSUM_AT = 12
SECTION_ALIGNMENT = 4096
CONSTANT_ALIGNMENT = 64
MAX_JSON = 1 << 24
CANONICAL = "canonical"
"""The layout of constants as the Plan describes them, which every backend takes."""
FLOATS = {str(d).removeprefix("torch."): d for d in (torch.float32, torch.float16, torch.bfloat16, torch.float64)}
DTYPES = FLOATS | {"int8": torch.int8, "int32": torch.int32}
"""Of constants."""
PRECISIONS = {
    "fp64": "float64",
    "fp32": "float32",
    "tf32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int8": QUANTIZED,
}
"""Precision -> the Plan's dtype."""


@dataclass(frozen=True)
class Metadata:
    """What a caller must know to use a Plan as the model it came from.

    Attributes:
        precision: a key of PRECISIONS.
        batch_invariant: as in :func:`inception_fast.optimize`.
        input_shape: per image, (channels, height, width), whatever the layout.
        input_dtype: of the tensors that the caller passes: a float type, or uint8 where the Plan takes bytes.
        structure: how the outputs are nested, with as many tensors as the Plan has outputs; opaque here otherwise.
        layout: how the constants are packed: CANONICAL, or the name of the backend that they were packed for.
        producer: the program that made the file, and its version.
        report: text for people.
        output_dtype: of the tensors that the caller gets; None where it is that of the input.
        input_layout: of the tensors that the caller passes; by default NCHW.
    """

    precision: str
    batch_invariant: bool
    input_shape: tuple[int, int, int]
    input_dtype: str
    structure: dict[str, object]
    layout: str = CANONICAL
    producer: str = field(default_factory=lambda: f"inception_fast {package_version()}")
    report: str = ""
    output_dtype: str | None = field(default=None, metadata=OPTIONAL)
    input_layout: Literal["NHWC"] | None = field(default=None, metadata=OPTIONAL)

    @property
    def called_with(self) -> tuple[int, int, int]:
        """The shape of an image as the caller passes it."""
        channels, height, width = self.input_shape
        return (height, width, channels) if self.input_layout == "NHWC" else self.input_shape


@dataclass(frozen=True)
class EngineFile:
    """What an engine file holds; construction checks that the parts fit together.

    Attributes:
        constants: CPU tensors, contiguous, with the shapes and dtypes of ``plan.constants``.

    Raises:
        EngineFileError: names the part that does not fit.
    """

    plan: Plan
    constants: Mapping[str, torch.Tensor]
    metadata: Metadata

    def __post_init__(self) -> None:
        _check_metadata(self.plan, self.metadata)
        _check_names(self.plan, self.constants)
        for name, constant in self.plan.constants.items():
            tensor = self.constants[name]
            if tuple(tensor.shape) != constant.shape or tensor.dtype != DTYPES[constant.dtype]:
                got = f"{tensor.dtype} {tuple(tensor.shape)}"
                raise EngineFileError(f"constant {name}: got {got}, expected {constant.dtype} {constant.shape}")
            if constant.dtype == "int32":
                _check_biases(name, tensor)


@dataclass(frozen=True)
class _Place:
    """Bytes of one constant in the constants' section."""

    offset: int
    length: int


@dataclass(frozen=True)
class _Document:
    """The JSON part of the file."""

    plan: Plan
    constants: dict[str, _Place]
    metadata: Metadata


def write_engine(path: str | os.PathLike[str], engine: EngineFile) -> None:
    """Writes ``engine`` to ``path``, which afterwards holds either the whole of it or what it held before.

    A symbolic link stays one: the file that it leads to is written.

    Raises:
        EngineFileError: the metadata or a name has no JSON form.
        InputError: there is something else than a file at ``path``: a folder, a device, a pipe, a socket.
        OSError: as from ``open`` and ``write``.
    """
    replace_file(path, _chunks(engine))


def replace_file(path: str | os.PathLike[str], chunks: Sequence[bytes | memoryview]) -> None:
    """Writes a file, which afterwards holds either all of ``chunks`` or what it held before.

    Raises:
        InputError, OSError: as :func:`write_engine`.
    """
    target = _target_of(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _target_of(path: str | os.PathLike[str]) -> Path:
    """The regular file that is to be replaced or made."""
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if not stat.S_ISREG(mode):
        kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
        kind = next((name for is_kind, name in kinds.items() if is_kind(mode)), "a device")
        raise InputError("path", f"{os.fspath(path)!r}, which is {kind}", "a regular file or none yet")
    return target


def engine_bytes(engine: EngineFile) -> bytes:
    """The contents of the file that :func:`write_engine` writes; equal engines give equal bytes."""
    return b"".join(_chunks(engine))


def engine_digest(engine: EngineFile) -> str:
    """SHA-256 of :func:`engine_bytes`, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in _chunks(engine):
        digest.update(chunk)
    return digest.hexdigest()


def read_engine(path: str | os.PathLike[str], *, layout: str = CANONICAL) -> EngineFile:
    """Reads an engine file.

    The constants are views of a private mapping of the file: writing to them changes no file, and the file may be
    replaced or deleted while they live, but must not be truncated in place.

    Args:
        layout: the packing of constants that the caller can use.

    Raises:
        EngineFileError: the file is damaged, hostile, of a newer format, or packed for another backend.
        OSError: as from ``open``.
    """
    with open(path, "rb") as file:
        # An empty file cannot be mapped.
        empty = os.fstat(file.fileno()).st_size == 0
        data = bytearray() if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    try:
        return _read(data, layout)
    except EngineFileError as error:
        raise EngineFileError(f"{os.fspath(path)}: {error}") from error


def read_engine_bytes(data: bytes, *, layout: str = CANONICAL) -> EngineFile:
    """Like :func:`read_engine`, from a copy of the file's contents."""
    return _read(bytearray(data), layout)


def format_of(plan: Plan, metadata: Metadata) -> int:
    """The oldest format that a Plan can be written in, with what a caller must know."""
    convs = [conv for step in plan.steps for conv in convolutions_of(step)]
    if plan.buffers[plan.input].dtype or any(isinstance(step, PadStep) for step in plan.steps):
        return 6
    if metadata.output_dtype or metadata.input_layout:
        return 6
    if any(map(_is_of_format_5, plan.steps)):
        return 5
    if any(conv.sensitivity for conv in convs):
        return 4
    if plan.dtype != QUANTIZED:
        return 1
    return 3 if any(conv.winograd for conv in convs) else 2


def _is_of_format_5(step: Step) -> bool:
    if isinstance(step, DepthwiseStep | SoftmaxStep | LocalResponseStep | GateStep):
        return True
    return any(d.activation for d in destinations_of(step)) or (isinstance(step, PoolStep) and step.adaptive)


def align(size: int, alignment: int) -> int:
    """``size`` rounded up to a multiple of ``alignment``."""
    return -(-size // alignment) * alignment


def _chunks(engine: EngineFile) -> list[bytes | memoryview]:
    """The file, in pieces that are views of the constants where they can be."""
    places, end = {}, 0
    for name in sorted(engine.plan.constants):
        places[name] = _Place(align(end, CONSTANT_ALIGNMENT), _byte_size(engine.plan.constants[name]))
        end = places[name].offset + places[name].length
    text = strict_json.dumps(encode(_Document(engine.plan, places, engine.metadata)))
    _check_text_length(len(text))
    # What cannot be read back unchanged (an int key, a lone surrogate) must not be written.
    if _parse(text).metadata != engine.metadata:
        raise EngineFileError("metadata: changes when it is written as JSON")
    body: list[bytes | memoryview] = [text, bytes(-(HEADER.size + len(text)) % SECTION_ALIGNMENT)]
    reached = 0
    for name, place in places.items():
        body += [bytes(place.offset - reached), bytes_of(engine.constants[name].cpu())]
        reached = place.offset + place.length

    version = format_of(engine.plan, engine.metadata)
    header = HEADER.pack(MAGIC, version, 0, len(text), end)
    checksum = zlib.crc32(header[CHECKSUM_AT + 4 :], zlib.crc32(header[:CHECKSUM_AT]))
    for chunk in body:
        checksum = zlib.crc32(chunk, checksum)
    return [HEADER.pack(MAGIC, version, checksum, len(text), end), *body]


def _read(data: mmap.mmap | bytearray, layout: str) -> EngineFile:
    text, start, length, version = _check_header(memoryview(data))
    document = _parse(text)
    if (needed := format_of(document.plan, document.metadata)) > version:
        raise EngineFileError(f"a Plan of format {needed} in a file of format {version}")
    if document.metadata.layout != layout:
        raise EngineFileError(f"the constants are packed for {document.metadata.layout!r}, not for {layout!r}")
    plan = document.plan
    _check_names(plan, document.constants)
    _check_places(plan, document.constants, length)
    constants = {}
    for name, place in document.constants.items():
        constant = plan.constants[name]
        dtype, count = DTYPES[constant.dtype], prod(constant.shape)
        constants[name] = torch.frombuffer(data, dtype=dtype, count=count, offset=start + place.offset).view(
            constant.shape
        )
    return EngineFile(plan, constants, document.metadata)


def _check_header(view: memoryview) -> tuple[bytes, int, int, int]:
    """The JSON text, where the constants start, how many bytes they have, and the file's format."""
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise EngineFileError("not an engine file")
    if len(view) < HEADER.size:
        raise EngineFileError(f"truncated: {len(view)} bytes, the header alone has {HEADER.size}")
    _, version, checksum, text_length, constants_length = HEADER.unpack_from(view)
    if version > VERSION:
        raise EngineFileError(
            f"made by a newer version of inception_fast: format {version}, this one reads up to {VERSION}"
        )
    if version < 1:
        raise EngineFileError(f"there is no format {version}")
    _check_text_length(text_length)
    start = align(HEADER.size + text_length, SECTION_ALIGNMENT)
    expected = start + constants_length
    if len(view) < expected:
        raise EngineFileError(f"truncated: {len(view)} bytes, the header announces {expected}")
    if len(view) > expected:
        raise EngineFileError(f"{len(view)} bytes, the header announces only {expected}")
    if zlib.crc32(view[CHECKSUM_AT + 4 :], zlib.crc32(view[:CHECKSUM_AT])) != checksum:
        raise EngineFileError("the checksum does not match: the file is damaged")
    return bytes(view[HEADER.size : HEADER.size + text_length]), start, constants_length, version


def _check_text_length(length: int) -> None:
    if length > MAX_JSON:
        raise EngineFileError(f"{length} bytes of JSON, at most {MAX_JSON} are allowed")


def _parse(text: bytes) -> _Document:
    try:
        return decode(_Document, strict_json.loads(text), "engine")
    except PlanError as error:
        raise EngineFileError(f"the Plan is not valid: {error}") from error


def _byte_size(constant: Constant) -> int:
    return prod(constant.shape) * DTYPES[constant.dtype].itemsize


def _check_names(plan: Plan, given: Mapping[str, object]) -> None:
    differing = given.keys() ^ plan.constants.keys()
    if differing:
        name = min(differing)
        raise EngineFileError(f"constant {name}: " + ("unknown to the Plan" if name in given else "missing"))


def _check_places(plan: Plan, places: Mapping[str, _Place], section: int) -> None:
    reached = 0
    for name, place in sorted(places.items(), key=lambda item: item[1].offset):
        expected = _byte_size(plan.constants[name])
        if place.length != expected:
            raise EngineFileError(f"constant {name}: {place.length} bytes, its shape and dtype make {expected}")
        if place.offset < reached or place.offset % CONSTANT_ALIGNMENT or place.offset + place.length > section:
            where = f"bytes {place.offset} to {place.offset + place.length}"
            raise EngineFileError(
                f"constant {name}: {where} are misaligned, overlap another or leave the section of {section}"
            )
        reached = place.offset + place.length


def _check_biases(name: str, biases: torch.Tensor) -> None:
    """Sums are 32 bits long; beside a larger bias their products might not fit."""
    least, most = (extreme.item() for extreme in biases.aminmax())
    if max(-least, most) > MAX_QUANTIZED_BIAS:
        got = f"biases of quantised sums from {least} to {most}"
        raise EngineFileError(f"constant {name}: got {got}, expected at most {MAX_QUANTIZED_BIAS} either way")


def _check_metadata(plan: Plan, metadata: Metadata) -> None:
    if PRECISIONS.get(metadata.precision) != plan.dtype:
        raise EngineFileError(f"metadata.precision: got {metadata.precision!r} for a Plan in {plan.dtype}")
    source = plan.buffers[plan.input]
    for name, got, taken in (
        ("input_dtype", metadata.input_dtype, (source.dtype,) if source.dtype else tuple(FLOATS)),
        ("output_dtype", metadata.output_dtype, tuple(FLOATS) if source.dtype else (None,)),
    ):
        if got not in taken:
            raise EngineFileError(f"metadata.{name}: got {got!r}, expected one of {', '.join(map(str, taken))}")
    shape = (source.channels, source.height, source.width)
    if metadata.input_shape != shape:
        raise EngineFileError(f"metadata.input_shape: got {metadata.input_shape}, the Plan takes {shape}")
    tensors = tensors_in(metadata.structure)
    if tensors != len(plan.outputs):
        raise EngineFileError(f"metadata.structure: got {tensors} tensors, the Plan gives {len(plan.outputs)}")

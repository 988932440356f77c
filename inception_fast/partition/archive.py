"""The file of a partitioned model: a zip, nothing in it compressed, of ``model.json``, an engine file for each island,
and the constants of the rest. Nothing in it is executed: operators are PyTorch's own, by name.
"""

from __future__ import annotations

import inspect
import io
import os
import zipfile
from math import prod
from typing import Any

import torch
from torch import Tensor

from inception_fast.errors import EngineFileError, InceptionFastError
from inception_fast.fast_model import FastModel
from inception_fast.graph.structure import OutputStructure
from inception_fast.partition import operators
from inception_fast.partition.arguments import Contract, Signature, TensorSpec
from inception_fast.partition.partitioned_model import PartitionedModel
from inception_fast.partition.report import PartitionReport
from inception_fast.plan import strict_json
from inception_fast.plan.engine_file import MAX_JSON, engine_bytes, read_engine_bytes, replace_file
from inception_fast.plan.serialize import decode, encode

VERSION = 1
_MODEL, _ENGINE, _TENSOR = "model.json", "engines/{}.ifast", "tensors/{}"
_DTYPES = {
    str(d).removeprefix("torch."): d
    for d in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    )
}  # fmt: skip


def write_archive(path: str | os.PathLike[str], model: PartitionedModel) -> None:
    """Writes a model to ``path``, which afterwards holds either the whole of it or what it held before.

    Raises:
        InputError: there is something else than a file at ``path``, or an operator cannot be written; names it.
        OSError: as from ``open`` and ``write``.
    """
    replace_file(path, [archive_bytes(model)])


def archive_bytes(model: PartitionedModel) -> bytes:
    """The contents of the file."""
    constants = {name: tensor.detach().cpu().contiguous() for name, tensor in model.rest.named_buffers(recurse=False)}
    text = strict_json.dumps(
        {
            "version": VERSION,
            "precision": model.precision,
            "signature": _signature_to_json(model.contract.signature),
            "arguments": model.contract.structure.to_json(),
            "tensors": [_spec_to_json(spec) for spec in model.contract.tensors],
            "outputs": model.structure.to_json(),
            "constants": {name: _spec_to_json(TensorSpec(tuple(t.shape), t.dtype)) for name, t in constants.items()},
            "islands": list(model.engines),
            "operators": operators.to_json(model.rest),
            "report": encode(model.facts),
        }
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_MODEL, text)
        for name, engine in model.engines.items():
            archive.writestr(_ENGINE.format(name), engine_bytes(engine.engine))
        for name, tensor in constants.items():
            archive.writestr(_TENSOR.format(name), tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return file.getvalue()


def read_archive(path: str | os.PathLike[str], backend: str, device: torch.device) -> PartitionedModel:
    """A partitioned model from its file.

    Raises:
        EngineFileError: it is damaged, hostile, or of a newer version.
        BackendUnavailableError: the backend cannot run here.
        OSError: as from ``open``.
    """
    try:
        with open(path, "rb") as file:
            return read_archive_bytes(file.read(), backend, device)
    except EngineFileError as error:
        raise EngineFileError(f"{os.fspath(path)}: {error}") from error


def read_archive_bytes(data: bytes, backend: str, device: torch.device) -> PartitionedModel:
    """Like :func:`read_archive`, from the file's contents."""
    contents = _contents(data)
    try:
        fields = strict_json.loads(contents.pop(_MODEL, b""))
        _require(isinstance(fields, dict), "model.json is no object")
        assert isinstance(fields, dict)
        version = fields.get("version")
        _require(version == VERSION, f"format {version!r}, this version reads {VERSION}")
        constants = {
            name: _tensor(name, _spec_from_json(spec), contents.pop(_TENSOR.format(name), None)).to(device)
            for name, spec in fields["constants"].items()
        }
        engines = {
            name: _engine(read_engine_bytes(contents.pop(_ENGINE.format(name), b"")), backend, device)
            for name in fields["islands"]
        }
        _require(not contents, f"{next(iter(contents), '')!r}, which nothing refers to")
        rest = operators.from_json(fields["operators"], constants, engines, device)
        tensors = tuple(_spec_from_json(spec) for spec in fields["tensors"])
        arguments = OutputStructure.from_json(fields["arguments"])
        outputs = OutputStructure.from_json(fields["outputs"])
        contract = Contract(_signature_from_json(fields["signature"]), arguments, tensors)
        results = rest.graph.output_node().args[0]
        _require(isinstance(results, tuple | list) and len(results) == outputs.tensors, "other outputs than operators")  # type: ignore[arg-type]
        _require(len(rest.graph.find_nodes(op="placeholder")) == len(tensors) == arguments.tensors, "other arguments")
        _require(isinstance(arguments.sample, list), "arguments that are no list")
        _require(len(arguments.sample) == len(contract.signature.given), "other arguments than parameters")
        report = decode(PartitionReport, fields["report"], "report")
        return PartitionedModel(rest, contract, outputs, str(fields["precision"]), backend, report)
    except InceptionFastError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise EngineFileError(f"the model's description: {type(error).__name__}: {error}") from error


def _contents(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _require(any(e.filename == _MODEL for e in entries), "not an engine file, nor an archive of them")
            # Sizes are the file's own claims, compared with it before anything is read.
            _require(all(e.compress_type == zipfile.ZIP_STORED for e in entries), "a compressed entry")
            _require(sum(e.file_size for e in entries) <= len(data), "entries larger than the file")
            _require(all(e.file_size <= MAX_JSON for e in entries if e.filename == _MODEL), "too much JSON")
            _require(len({e.filename for e in entries}) == len(entries), "two entries of one name")
            return {e.filename: archive.read(e) for e in entries}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise EngineFileError(f"no archive of a partitioned model, or a damaged one: {error}") from error


def _engine(engine: Any, backend: str, device: torch.device) -> FastModel:
    return FastModel(engine, OutputStructure.from_json(engine.metadata.structure), backend, device)


def _tensor(name: str, spec: TensorSpec, data: bytes | None) -> Tensor:
    shape = tuple(int(s) for s in spec.shape)
    expected = prod(shape) * spec.dtype.itemsize
    _require(data is not None and len(data) == expected and min(shape, default=1) >= 0, f"constant {name}: its size")
    if not expected:
        return torch.empty(shape, dtype=spec.dtype, device="cpu")
    return torch.frombuffer(bytearray(data or b""), dtype=spec.dtype).view(shape)


def _spec_to_json(spec: TensorSpec) -> dict[str, Any]:
    return {"shape": list(spec.shape), "dtype": str(spec.dtype).removeprefix("torch.")}


def _spec_from_json(spec: Any) -> TensorSpec:
    shape = tuple(s if isinstance(s, str) else int(s) for s in spec["shape"])
    return TensorSpec(shape, _DTYPES[spec["dtype"]])


def _signature_to_json(signature: Signature) -> dict[str, Any]:
    plain = (type(None), bool, int, float, str)
    parameters = []
    for p in signature.parameters:
        entry: dict[str, Any] = {"name": p.name, "kind": int(p.kind), "optional": p.default is not p.empty}
        if type(p.default) in plain:
            entry["default"] = p.default
        parameters.append(entry)
    return {"parameters": parameters, "given": list(signature.given)}


class _Unknown:
    """The default of a parameter that is given no value, where a file cannot say what it is."""

    def __repr__(self) -> str:
        return "..."


def _signature_from_json(fields: Any) -> Signature:
    parameters = []
    for entry in fields["parameters"]:
        default = entry.get("default", _Unknown()) if entry["optional"] else inspect.Parameter.empty
        kind = inspect._ParameterKind(entry["kind"])
        parameters.append(inspect.Parameter(entry["name"], kind, default=default))
    given = [str(name) for name in fields["given"]]
    _require(set(given) <= {p.name for p in parameters}, "arguments that are no parameters")
    return Signature(parameters, given)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise EngineFileError(problem)

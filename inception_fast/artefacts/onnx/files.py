"""Reading an ONNX file; nothing in it is run, and nothing is made that is larger than what the file holds."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import fx

from inception_fast.errors import InceptionFastError, ModelFileError, OnnxUnavailableError

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 9
DOMAINS = ("", "ai.onnx")
"""Both names of the standard's own operators."""


def load_onnx(source: Any) -> fx.GraphModule:
    """The module of an ONNX model, in eval mode, on the CPU.

    Its arguments are the graph's inputs in order, and it returns the outputs in order: a tensor, or a tuple of
    several. Initialisers are its parameters and buffers under their names in the file, operators its submodules under
    theirs.

    Args:
        source: the path of a file, or an ``onnx.ModelProto``, which is left as it is.

    Raises:
        OnnxUnavailableError: the ``onnx`` package is not installed.
        ModelFileError: this is no valid model, parts of it are missing, or its opset is older than 9 or newer than
            what the ``onnx`` package knows.
        UnsupportedOpError: an operator is not the family's; names its node, domain and opset.
    """
    try:
        import onnx
    except ImportError as error:
        raise OnnxUnavailableError(
            "ONNX models are read by the onnx package: pip install 'inception-fast[onnx]'"
        ) from error
    if isinstance(source, str | os.PathLike):
        name, model = os.fspath(source), _parse(Path(source))
    elif isinstance(source, onnx.ModelProto):
        name, model = "the ONNX model", source
    else:
        raise ModelFileError(f"a {type(source).__name__} is neither the path of an ONNX file nor an onnx.ModelProto")
    try:
        return _module(name, model, Path(name) if model is not source else None)
    except InceptionFastError:
        raise
    except Exception as error:
        # What damaged messages raise, protobuf and the checker do not say.
        raise ModelFileError(f"{name} is no valid ONNX model: {_gist(error)}") from error


def _module(name: str, model: onnx.ModelProto, path: Path | None) -> fx.GraphModule:
    """Args:
    path: of the file that the model was read from.
    """
    import onnx

    from inception_fast.artefacts.onnx.module import GraphBuilder

    opset = _opset(name, model)
    external = [t for t in _tensors(model.graph) if t.data_location == onnx.TensorProto.EXTERNAL]
    if external and path is None:
        raise ModelFileError(f"{name} keeps weights in other files; hand over the path of its file")
    if path is not None:
        _load_external(path, external)
    builder = GraphBuilder(name, model.graph, opset)
    # Operators that are refused by name come first: the checker knows no others than the standard's.
    builder.check_operators()
    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version or onnx.IR_VERSION
    context.opset_imports = {"": opset}
    for node in model.graph.node:
        if node.domain in DOMAINS:
            onnx.checker.check_node(node, context)
    return builder.build()


def _parse(path: Path) -> onnx.ModelProto:
    import onnx

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:
        raise ModelFileError(f"{path} is no ONNX file, or is cut short: {_gist(error)}") from error
    return model


def _opset(name: str, model: onnx.ModelProto) -> int:
    import onnx

    if not model.HasField("graph"):
        raise ModelFileError(f"{name} is no ONNX model: it has no graph")
    versions = [o.version for o in model.opset_import if o.domain in DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1:
        raise ModelFileError(f"{name} does not say which opset its operators are of")
    if not OLDEST_OPSET <= versions[0] <= newest:
        raise ModelFileError(
            f"{name} is of opset {versions[0]}; {OLDEST_OPSET} to {newest} are read with onnx {onnx.__version__}"
        )
    return versions[0]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _load_external(path: Path, tensors: list[onnx.TensorProto]) -> None:
    """Reads the tensors that are kept beside the file at ``path``, never outside its folder."""
    import onnx
    from onnx import external_data_helper

    sizes: dict[Path, int] = {}
    wanted = 0
    for tensor in tensors:
        entry = external_data_helper.ExternalDataInfo(tensor)
        beside = path.parent / entry.location
        try:
            sizes[beside] = beside.stat().st_size
            wanted += math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            if wanted > sum(sizes.values()):
                raise ModelFileError(f"{path} wants more of {entry.location} than it holds, for '{tensor.name}'")
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except ModelFileError:
            raise
        except FileNotFoundError:
            raise ModelFileError(f"{path} keeps '{tensor.name}' in {entry.location}, which is missing") from None
        except Exception as error:
            raise ModelFileError(f"{path} keeps '{tensor.name}' in {entry.location}: {_gist(error)}") from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _gist(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

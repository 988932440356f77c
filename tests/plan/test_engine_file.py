"""The engine file: there and back through the disk, and a clear error for every file that is not sound."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inception_fast.activation import Activation
from inception_fast.errors import EngineFileError, InputError, PlanError
from inception_fast.graph import ir
from inception_fast.lowering.lower import lower
from inception_fast.plan import engine_file
from inception_fast.plan.engine_file import (
    CONSTANT_ALIGNMENT,
    HEADER,
    EngineFile,
    Metadata,
    engine_bytes,
    read_engine,
    read_engine_bytes,
    write_engine,
)
from inception_fast.plan.plan import NormalizeStep, PadStep, Plan
from inception_fast.plan.serialize import decode
from inception_fast.report import Report
from tests.graph.build import Build
from tests.plan.conftest import Reader
from tests.plan.mutations import header_field, split, with_checksum, with_header
from tests.plan.tiny_engine import edited, structure_of, tiny_engine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "tiny.ifast"
    write_engine(target, tiny_engine())
    return target


def assert_same(a: EngineFile, b: EngineFile) -> None:
    assert a.plan == b.plan and a.metadata == b.metadata
    assert a.constants.keys() == b.constants.keys()
    for name, tensor in a.constants.items():
        assert torch.equal(tensor, b.constants[name]) and tensor.dtype == b.constants[name].dtype


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "winograd", "measured", "functions"])
def test_there_and_back(tmp_path: Path, precision: str) -> None:
    engine = tiny_engine(precision)
    write_engine(tmp_path / "a.ifast", engine)
    assert (tmp_path / "a.ifast").read_bytes() == engine_bytes(engine)
    assert_same(read_engine(tmp_path / "a.ifast"), engine)
    assert_same(read_engine_bytes(engine_bytes(engine)), engine)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "winograd", "measured", "functions"])
def test_cpp_reads_the_same(tmp_path: Path, precision: str) -> None:
    native = pytest.importorskip("inception_fast._native")
    engine = tiny_engine(precision)
    write_engine(tmp_path / "ä.ifast", engine)
    found = native.read_engine(tmp_path / "ä.ifast", engine_file.CANONICAL)
    assert decode(Plan, found["plan"], "plan") == engine.plan
    assert decode(Metadata, found["metadata"], "metadata") == engine.metadata
    values = {name: tensor.view(torch.uint8).numpy().tobytes() for name, tensor in engine.constants.items()}
    assert found["constants"] == values


def test_constants_are_stored_as_they_are_seen(path: Path) -> None:
    engine = tiny_engine()
    weight = engine.constants["conv.weight"]
    strided = torch.empty(9, 5, 3).transpose(0, 1).copy_(weight).requires_grad_()
    other = replace(engine, constants={**engine.constants, "conv.weight": strided})
    assert not strided.is_contiguous() and engine_bytes(other) == path.read_bytes()


def test_constants_are_aligned_in_memory(path: Path) -> None:
    assert all(t.data_ptr() % CONSTANT_ALIGNMENT == 0 for t in read_engine(path).constants.values())


def test_writing_to_a_constant_does_not_reach_the_file(path: Path) -> None:
    before = path.read_bytes()
    engine = read_engine(path)
    for tensor in engine.constants.values():
        tensor.fill_(7)
    assert path.read_bytes() == before
    assert_same(read_engine(path), tiny_engine())
    assert (engine.constants["conv.weight"] == 7).all()


def test_constants_may_lie_in_any_order(read: Reader) -> None:
    """The two that have one size change places."""

    def swap(document: Any) -> None:
        scale, shift = (document["constants"][f"pointwise.{name}"] for name in ("scale", "shift"))
        scale["offset"], shift["offset"] = shift["offset"], scale["offset"]

    read(edited(swap))
    swapped, engine = read_engine_bytes(edited(swap)), tiny_engine()
    assert torch.equal(swapped.constants["pointwise.scale"], engine.constants["pointwise.shift"])
    assert torch.equal(swapped.constants["pointwise.shift"], engine.constants["pointwise.scale"])


def test_a_constant_in_the_middle_of_another(read: Reader) -> None:
    with pytest.raises(EngineFileError, match="overlap"):
        read(edited(lambda d: d["constants"]["pool.bias"].update(offset=d["constants"]["conv.weight"]["offset"] + 64)))


def test_a_constant_that_ends_behind_the_others(read: Reader) -> None:
    def move(document: Any) -> None:
        places = document["constants"]
        places["conv.weight"]["offset"] = max(p["offset"] for p in places.values()) + 64

    with pytest.raises(EngineFileError, match=r"constant conv\.weight: "):
        read(edited(move))


def test_the_longest_text() -> None:
    engine_file._check_text_length(1 << 24)
    with pytest.raises(EngineFileError, match="16777217 bytes of JSON"):
        engine_file._check_text_length((1 << 24) + 1)


def test_the_error_of_a_file_that_cannot_be_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no room for it")

    monkeypatch.setattr(engine_file, "open", refuse, raising=False)
    with pytest.raises(PermissionError, match="no room for it"):
        write_engine(path, tiny_engine())
    assert sorted(path.parent.iterdir()) == [path]


def test_the_file_may_be_replaced_and_deleted_while_it_is_in_use(path: Path) -> None:
    engine = read_engine(path)
    zeros = {name: torch.zeros_like(t) for name, t in engine.constants.items()}
    write_engine(path, replace(tiny_engine(), constants=zeros))
    path.unlink()
    assert_same(engine, tiny_engine())


def test_constants_outlive_the_engine(path: Path) -> None:
    weight = read_engine(path).constants["conv.weight"]
    assert torch.equal(weight, tiny_engine().constants["conv.weight"])


def test_threads_read_one_file(path: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                assert_same(read_engine(path), tiny_engine())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine_file.os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_engine(path, tiny_engine("bf16"))
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_a_symbolic_link_stays_one(path: Path) -> None:
    link, dangling = path.with_name("link"), path.with_name("dangling")
    link.symlink_to(path.name)
    dangling.symlink_to("not yet there")
    for way in (link, dangling):
        write_engine(way, tiny_engine("bf16"))
        assert way.is_symlink()
        assert_same(read_engine(way), tiny_engine("bf16"))
    assert not path.is_symlink() and (path.parent / "not yet there").is_file()


def a_folder(place: Path) -> None:
    place.mkdir()


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def a_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(place))


def a_device(place: Path) -> None:
    place.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [a_folder, a_pipe, a_socket, a_device])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, make: Callable[[Path], None], monkeypatch: Any) -> None:
    # The address of a socket may have no more than a hundred bytes.
    monkeypatch.chdir(tmp_path)
    place = Path("place")
    make(place)
    before = place.stat()
    with pytest.raises(InputError, match=f"path: got 'place', which is {make.__name__.replace('_', ' ')}, expected"):
        write_engine(place, tiny_engine())
    assert os.path.samestat(place.stat(), before) and place.stat().st_mode == before.st_mode
    assert os.listdir() == ["place"]


def test_a_new_file_has_the_usual_permissions(path: Path) -> None:
    (path.parent / "usual").write_bytes(b"")
    assert path.stat().st_mode == (path.parent / "usual").stat().st_mode


def test_missing_file() -> None:
    with pytest.raises(FileNotFoundError):
        read_engine("nowhere.ifast")


def test_every_truncation_is_refused(read: Reader) -> None:
    data = engine_bytes(tiny_engine())
    for length in [*range(64), *range(64, len(data), 61), len(data) - 1]:
        with pytest.raises(EngineFileError, match=r"truncated|not an engine file"):
            read(data[:length])
        with pytest.raises(EngineFileError):
            read(with_checksum(data[:length]))


def test_every_flipped_byte_is_refused(read: Reader) -> None:
    data = engine_bytes(tiny_engine())
    for at in [*range(64), *range(64, len(data), 23), len(data) - 1]:
        with pytest.raises(EngineFileError):
            read(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])


def test_an_error_names_the_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(EngineFileError, match=r"tiny\.ifast: truncated: \d+ bytes, the header announces \d+$"):
        read_engine(path)
    path.write_bytes(b"")
    with pytest.raises(EngineFileError, match=r"tiny\.ifast: not an engine file"):
        read_engine(path)


@pytest.mark.parametrize(
    ("tiny", "version"),
    [
        ("fp32", 1),
        ("bf16", 1),
        ("int8", 2),
        ("winograd", 3),
        ("measured", 4),
        ("functions", 5),
        ("bytes", 6),
        ("int8 bytes", 6),
    ],
)
def test_the_oldest_format_that_will_do(read: Reader, tiny: str, version: int) -> None:
    data = engine_bytes(tiny_engine(tiny))
    assert HEADER.unpack_from(data)[1] == version
    for newer in range(version, engine_file.VERSION + 1):
        read(header_field(data, 1, newer))
    for older in range(1, version):
        with pytest.raises(EngineFileError, match=f"in a file of format {older}"):
            read(header_field(data, 1, older))


NEW_IN_FORMAT_5: dict[str, Callable[[Build], str]] = {
    "depthwise": lambda b: b.node(ir.DepthwiseConv2d(b.param(3, 1, 3, 3), None, (1, 1), (1, 1, 1, 1), (1, 1)), "x"),
    "softmax": lambda b: b.node(ir.Softmax(), "x"),
    "local response": lambda b: b.node(ir.LocalResponseNorm(3, 1e-4, 0.75, 1.0), "x"),
    "gate": lambda b: b.node(ir.Gate(), "x", "x"),
    "function": lambda b: b.node(ir.Activate(Activation("silu")), "x"),
    "adaptive pool": lambda b: b.node(ir.AdaptiveMaxPool((4, 5)), "x"),
}


@pytest.mark.parametrize("name", NEW_IN_FORMAT_5)
def test_what_is_of_format_5(read: Reader, name: str) -> None:
    build = Build(3, 6, 6)
    NEW_IN_FORMAT_5[name](build)
    plan, constants = lower(build.graph())
    data = engine_bytes(EngineFile(plan, constants, replace(tiny_engine().metadata, structure=structure_of(plan))))
    assert HEADER.unpack_from(data)[1] == 5
    read(data)
    with pytest.raises(EngineFileError, match="a Plan of format 5 in a file of format 4"):
        read(header_field(data, 1, 4))


def test_margins_are_of_format_6(read: Reader) -> None:
    """Whatever comes in."""
    engine = tiny_engine()
    last = engine.plan.steps[-1]
    assert isinstance(last, NormalizeStep)
    pad = PadStep(last.name, last.source, last.destination, (0, 0), 0.0)
    data = engine_bytes(replace(engine, plan=replace(engine.plan, steps=(*engine.plan.steps[:-1], pad))))
    assert HEADER.unpack_from(data)[1] == 6
    read(data)
    with pytest.raises(EngineFileError, match="a Plan of format 6 in a file of format 5"):
        read(header_field(data, 1, 5))


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("precision", "change", "path"),
    [
        ("fp32", lambda p: p["buffers"][1].update(scale=None), r"buffers\[1\].scale"),
        ("fp32", lambda p: p["buffers"][1].update(zero=0), r"buffers\[1\].zero"),
        ("fp32", lambda p: p["steps"][0]["conv"].update(scale=None), r"steps\[0\].conv.scale"),
        ("fp32", lambda p: p["steps"][0]["conv"].update(winograd=None), r"steps\[0\].conv.winograd"),
        ("int8", lambda p: p["steps"][0]["conv"].update(winograd=None), r"steps\[0\].conv.winograd"),
        ("fp32", lambda p: p["steps"][0]["conv"].update(sensitivity=None), r"steps\[0\].conv.sensitivity"),
        ("int8", lambda p: p["buffers"][2].update(zero=0), r"buffers\[2\].zero"),
        ("int8", lambda p: p["buffers"][4].update(scale=None), r"buffers\[4\].scale"),
    ],
)
def test_an_optional_key_is_not_there_for_nothing(
    read: Reader, precision: str, change: Callable[[Any], object], path: str, version: int
) -> None:
    data = edited(lambda d: change(d["plan"]), precision)
    with pytest.raises(EngineFileError, match=rf"{path}: .*no key for null or 0"):
        read(header_field(data, 1, version))


@pytest.mark.parametrize(
    ("sensitivity", "message"),
    [
        ({"noise": -0.5, "weights": 0.0}, r"step conv: .*sensitivity|Sensitivity"),
        ({"noise": 0.0, "weights": 1.1e30}, r"step conv: .*sensitivity|Sensitivity"),
        ({"noise": 1.0}, r"sensitivity.*weights"),
        ({"noise": 1.0, "weights": 1.0, "bias": 1.0}, r"sensitivity: .*unknown key"),
        ({"noise": "much", "weights": 1.0}, r"sensitivity.noise: .*a number"),
        (1.0, r"sensitivity: .*an object"),
    ],
)
def test_a_sensitivity_that_there_is_not(read: Reader, sensitivity: object, message: str) -> None:
    read(edited(lambda d: None, "measured"))
    with pytest.raises(EngineFileError, match=message):
        read(edited(lambda d: d["plan"]["steps"][0]["conv"].update(sensitivity=sensitivity), "measured"))


def test_no_sensitivity_in_a_quantised_plan(read: Reader) -> None:
    measured = {"noise": 1.0, "weights": 1.0}
    data = edited(lambda d: d["plan"]["steps"][0]["conv"].update(sensitivity=measured), "int8")
    with pytest.raises(EngineFileError, match=r"step conv: a sensitivity in a"):
        read(header_field(data, 1, 4))


@pytest.mark.parametrize("value", [2**23, -(2**23), 2**31 - 1, -(2**31)])
def test_a_bias_that_could_overflow_a_sum(read: Reader, value: int) -> None:
    engine = tiny_engine("int8")
    text, constants = split(engine_bytes(engine))
    at = json.loads(text)["constants"]["conv.bias"]["offset"] + 8

    def with_bias(bias: int) -> bytes:
        return with_header(text, constants[:at] + struct.pack("<i", bias) + constants[at + 4 :])

    read(with_bias(2**23 - 1 if value > 0 else 1 - 2**23))
    with pytest.raises(EngineFileError, match=r"constant conv\.bias: .*bias"):
        read(with_bias(value))
    with pytest.raises(EngineFileError, match=rf"constant conv\.bias: got .*{value}"):
        biases = torch.tensor([0, 0, value, 0], dtype=torch.int32)
        replace(engine, constants={**engine.constants, "conv.bias": biases})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: b"PK\3\4" + d[4:], "not an engine file"),
        (lambda d: header_field(d, 1, 7), "newer version of inception_fast: format 7, this one reads up to 6"),
        (lambda d: header_field(d, 1, 0), "no format 0"),
        (lambda d: d[:-1] + bytes([d[-1] ^ 1]), "checksum does not match"),
        (lambda d: d + b"\0", "bytes, (the header announces only|more than the header announces)"),
        (lambda d: header_field(d, 3, 2**64 - 1), "18446744073709551615 bytes"),
        (lambda d: header_field(d, 4, 2**64 - 1), "truncated"),
        (lambda d: header_field(d, 4, 2**64 - 4096), "truncated"),
    ],
)
def test_a_damaged_header_is_named(read: Reader, change: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(EngineFileError, match=message):
        read(change(engine_bytes(tiny_engine())))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("metadata"), "metadata"),
        (lambda d: d.update(code="import os"), "unknown key"),
        (lambda d: d["metadata"].update(layout="cuda-sm90"), "packed for 'cuda-sm90', not for 'canonical'"),
        (lambda d: d["metadata"].update(precision="bf16"), "metadata.precision: got 'bf16' for a Plan in float32"),
        (lambda d: d["metadata"].update(precision="int3"), "metadata.precision: got 'int3'"),
        (lambda d: d["metadata"].update(input_dtype="uint8"), "metadata.input_dtype"),
        (lambda d: d["metadata"].update(input_shape=[3, 7, 6]), "metadata.input_shape"),
        (lambda d: d["metadata"].update(input_shape=[3, 6]), "metadata.input_shape"),
        (lambda d: d["metadata"].update(structure=[]), "metadata.structure"),
        (lambda d: d["metadata"].update(structure={}), "metadata.structure"),
        (lambda d: d["metadata"].update(structure={"kind": ["tuple"]}), "metadata.structure"),
        (lambda d: d["metadata"].update(structure={"kind": "tuple"}), "metadata.structure"),
        (lambda d: d["metadata"].update(structure={"kind": "tuple", "items": [0]}), "metadata.structure"),
        (lambda d: d["metadata"].update(structure={"kind": "set", "items": []}), "metadata.structure: .*a node "),
        (lambda d: d["metadata"]["structure"]["items"].append({"kind": "tensor"}), "metadata.structure.* 4 tensors"),
        (lambda d: d["metadata"]["structure"]["items"].pop(0), "metadata.structure.* 2 tensors"),
        (lambda d: d["plan"]["steps"][-1].update(eps=1e300), "step normalize: .*eps"),
        (lambda d: d["metadata"].update(report=None), "metadata.report"),
        (lambda d: d["constants"].pop("conv.bias"), "constant conv.bias: missing"),
        (lambda d: d["constants"].update(more={"offset": 0, "length": 0}), "unknown to the Plan"),
        (lambda d: d["constants"]["conv.bias"].update(length=16), "constant conv.bias: 16 bytes.* 20"),
        (lambda d: d["constants"]["conv.bias"].update(offset=4), "constant conv.bias: .*misaligned"),
        (lambda d: d["constants"]["conv.bias"].update(offset=64), "overlap"),
        (lambda d: d["constants"]["conv.bias"].update(offset=-64), "constant conv.bias: "),
        (lambda d: d["constants"]["conv.bias"].update(offset=2**20), "constant conv.bias: "),
        (lambda d: d["constants"]["conv.bias"].update(offset=2**63 - 64), "constant conv.bias: "),
        (lambda d: d["constants"]["conv.bias"].update(length=2**63 - 1), "constant conv.bias: "),
        (lambda d: d["plan"]["constants"]["conv.bias"].update(shape=[2**62, 4]), "Plan is not valid: step conv: "),
        (lambda d: d["plan"]["buffers"][1].update(channels=2**31), "[Pp]lan"),
        (lambda d: d["plan"].update(arena=2**40), "Plan is not valid: arena"),
        (lambda d: d["plan"]["buffers"][2].update(offset=256), "Plan is not valid: buffer"),
    ],
)
def test_hostile_contents_are_named(read: Reader, change: Callable[[Any], object], message: str) -> None:
    with pytest.raises(EngineFileError, match=message):
        read(edited(change))


def test_a_broken_plan_is_chained() -> None:
    with pytest.raises(EngineFileError) as caught:
        read_engine_bytes(edited(lambda d: d["plan"].update(arena=0)))
    assert isinstance(caught.value.__cause__, PlanError)


def test_a_file_packed_for_a_backend_is_read_where_that_is_asked_for(tmp_path: Path) -> None:
    engine = tiny_engine()
    packed = replace(engine, metadata=replace(engine.metadata, layout="cpu-avx512"))
    write_engine(tmp_path / "packed.ifast", packed)
    assert_same(read_engine(tmp_path / "packed.ifast", layout="cpu-avx512"), packed)
    with pytest.raises(EngineFileError, match="packed for 'cpu-avx512', not for 'canonical'"):
        read_engine(tmp_path / "packed.ifast")


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"conv.bias": torch.zeros(6)}, r"constant conv.bias: got torch.float32 \(6,\), expected float32 \(5,\)"),
        ({"conv.bias": torch.zeros(5).half()}, r"constant conv.bias: got torch.float16 \(5,\), expected float32"),
        ({"spare": torch.zeros(5)}, "constant spare: unknown to the Plan"),
    ],
)
def test_an_engine_whose_parts_do_not_fit_is_not_made(constants: dict[str, torch.Tensor], message: str) -> None:
    engine = tiny_engine()
    with pytest.raises(EngineFileError, match=message):
        replace(engine, constants={**engine.constants, **constants})
    with pytest.raises(EngineFileError, match=r"constant conv\.bias: missing"):
        replace(engine, constants={k: v for k, v in engine.constants.items() if k != "conv.bias"})


@pytest.mark.parametrize(
    "structure",
    [{"a": (1, 2)}, {"a": float("nan")}, {1: 2, "a": 3}, {"a": 2**70}, {"a": torch.zeros(1)}, {"a": "\ud800"}],
    ids=["tuple", "nan", "int key", "large", "tensor", "surrogate"],
)
def test_metadata_that_json_would_change_is_not_written(path: Path, structure: dict[Any, Any]) -> None:
    engine = tiny_engine()
    before = path.read_bytes()
    whole = {**engine.metadata.structure, **structure}
    with pytest.raises(EngineFileError, match="JSON"):
        write_engine(path, replace(engine, metadata=replace(engine.metadata, structure=whole)))
    assert path.read_bytes() == before


def test_metadata_that_is_too_long_to_be_read_is_not_written(tmp_path: Path) -> None:
    engine = tiny_engine()
    with pytest.raises(EngineFileError, match=r"bytes of JSON, at most 16777216 are allowed"):
        write_engine(tmp_path / "a", replace(engine, metadata=replace(engine.metadata, report="x" * (1 << 24))))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("text", ["two\nlines", "{}", "3", '[{"name": "fold"}]', "[" * 5000, "[null]"])
def test_a_report_that_another_program_wrote_is_no_error(text: str) -> None:
    engine = tiny_engine()
    report = Report.of(replace(engine, metadata=replace(engine.metadata, report=text)), "cpu")
    assert report.passes == [] and "backend cpu" in str(report)


def test_images_in_another_layout_are_of_format_6(read: Reader) -> None:
    """Whatever the Plan is."""
    data = edited(lambda d: d["metadata"].update(input_layout="NHWC"))
    read(header_field(data, 1, 6))
    with pytest.raises(EngineFileError, match="a Plan of format 6 in a file of format 5"):
        read(header_field(data, 1, 5))


@pytest.mark.parametrize(
    ("tiny", "change", "message"),
    [
        ("fp32", {"input_layout": "NCHW"}, "input_layout"),
        ("fp32", {"input_layout": None}, "input_layout: .*no key for null"),
        ("fp32", {"output_dtype": "float32"}, "metadata.output_dtype"),
        ("bytes", {"output_dtype": "uint8"}, "metadata.output_dtype"),
        ("bytes", {"output_dtype": "int8"}, "metadata.output_dtype"),
        ("bytes", {"input_dtype": "float32"}, "metadata.input_dtype"),
    ],
)
def test_a_callers_contract_that_is_none(read: Reader, tiny: str, change: dict[str, object], message: str) -> None:
    with pytest.raises(EngineFileError, match=message):
        read(edited(lambda d: d["metadata"].update(change), tiny))


def test_results_of_bytes_have_a_type(read: Reader) -> None:
    with pytest.raises(EngineFileError, match=r"metadata\.output_dtype"):
        read(edited(lambda d: d["metadata"].pop("output_dtype"), "bytes"))

"""Damaged and hostile variants of an engine file, reproducible from a seed.

All but the plain damage of ``bytes_only`` carry a checksum that is right, so that they reach the code behind it.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from inception_fast.plan.engine_file import CHECKSUM_AT, HEADER, MAGIC, SECTION_ALIGNMENT, VERSION, align

EDGES = (0, 1, -1, 2, 3, 63, 64, 255, 4096, 2**15, 2**15 + 1, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63)
# Texts in place of a value; some are no JSON at all, or outside the subset.
TEXTS = (
    "null true false [] {} 0 -0 1.0 1e5 -1 1e999 1e-999 5e-324 0e999 01 1. .5 +1 1e 0x1 NaN Infinity -Infinity nul",
    '"" "\\u0000" "\\ud800" "\\ud83d\\ude00" "\\udc00\\ud800" "\\x" "\\u12" "float64" "input" "conv" "vertical" "é"',
    f"{2**63} {-(2**63)} {-(2**63) - 1} {10**30} {'[' * 120}{']' * 120} {'[' * 5000} {'9' * 5000} {'[' * 20}{']' * 20}",
    '[1,] [1 {"a":1,"a":2} {"a":1,} {1:2} {"kind":"conv"} [[0,0]] [-1,-1] [0] "\t" \ufeff1 1,2 1] 1}',
)
RAW_VALUES = tuple(text for line in TEXTS for text in line.split(" "))


def with_header(text: bytes, constants: bytes) -> bytes:
    """A file of these two parts, its lengths and checksum right."""
    body = text.ljust(align(HEADER.size + len(text), SECTION_ALIGNMENT) - HEADER.size, b"\0") + constants
    return with_checksum(HEADER.pack(MAGIC, VERSION, 0, len(text), len(constants)) + body)


def with_checksum(data: bytes) -> bytes:
    """``data`` with its checksum made right, where it has room for one."""
    end = CHECKSUM_AT + 4
    checksum = zlib.crc32(data[end:], zlib.crc32(data[:CHECKSUM_AT]))
    return data[:CHECKSUM_AT] + checksum.to_bytes(4, "little") + data[end:] if len(data) >= end else data


def header_field(data: bytes, index: int, value: int) -> bytes:
    """``data`` with a field of its header replaced, and the checksum right."""
    fields = list(HEADER.unpack_from(data))
    fields[index] = value
    return with_checksum(HEADER.pack(*fields) + data[HEADER.size :])


def split(data: bytes) -> tuple[bytes, bytes]:
    """The JSON and the constants of a sound file."""
    text_length = HEADER.unpack_from(data)[3]
    return data[HEADER.size : HEADER.size + text_length], data[align(HEADER.size + text_length, SECTION_ALIGNMENT) :]


def mutations(kind: str, data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """``count`` variants of the sound file ``data``."""
    random_ = random.Random(f"{kind} {seed}")
    for _ in range(count):
        yield MUTATORS[kind](random_, data)


def bytes_only(random_: random.Random, data: bytes) -> bytes:
    """Flips, truncations, extensions and splices, as a bad disk or transfer makes them."""
    for _ in range(random_.choice((1, 1, 1, 2, 4))):
        data = _damage(random_, data)
    return data


def _damage(random_: random.Random, data: bytes) -> bytes:
    at, end = sorted(random_.choices(range(len(data) + 1), k=2))
    match random_.randrange(6):
        case 0:
            return _overwrite(data, random_.randrange(HEADER.size), random_.randbytes(1))
        case 1:
            at = random_.randrange(max(1, len(data)))
            return _overwrite(data, at, bytes([data[at] ^ 1 << random_.randrange(8)]) if data else b"")
        case 2:
            return data[:at]
        case 3:
            return data + random_.randbytes(random_.choice((1, 7, 64, 4096)))
        case 4:
            return data[:at] + data[end:]
        case _:
            return data[:end] + data[at:]


def bytes_with_checksum(random_: random.Random, data: bytes) -> bytes:
    """The same damage, seen by the code behind the checksum; often with lengths in the header that fit."""
    mutant = bytes_only(random_, data)
    if random_.randrange(3) and len(mutant) >= HEADER.size:
        magic, version, checksum, text_length, _ = HEADER.unpack_from(data)
        length = max(0, len(mutant) - align(HEADER.size + text_length, SECTION_ALIGNMENT))
        mutant = HEADER.pack(magic, version, checksum, text_length, length) + mutant[HEADER.size :]
    return with_checksum(mutant)


def header(random_: random.Random, data: bytes) -> bytes:
    """Other versions and lengths."""
    magic, version, _, *lengths = HEADER.unpack_from(data)
    match random_.randrange(4):
        case 0:
            version = random_.choice((0, 1, 2, 3, 4, 5, 6, 2**31, 2**32 - 1, random_.randrange(2**32)))
        case 1:
            magic = _overwrite(magic, random_.randrange(len(magic)), random_.randbytes(1))
        case _:
            which = random_.randrange(2)
            near = lengths[which] + random_.choice((-4096, -64, -2, -1, 1, 2, 64, 4096))
            far = random_.choice((*EDGES, 2**64 - 1, 2**64 - 4096, random_.randrange(2**64)))
            lengths[which] = max(0, random_.choice((near, far)))
    return with_checksum(HEADER.pack(magic, version, 0, *lengths) + data[HEADER.size :])


def json_bytes(random_: random.Random, data: bytes) -> bytes:
    """The JSON text with bytes changed, taken out or put in."""
    text, constants = split(data)
    for _ in range(random_.choice((1, 1, 1, 2, 5))):
        at = random_.randrange(len(text))
        piece = random_.choice((random_.randbytes(1), bytes([random_.choice(b'0123456789-+.eE"\\[]{},: \0')]), b""))
        text = text[:at] + piece + text[at + random_.choice((0, 1, 1, 1, 4)) :]
    return with_header(text, constants)


def json_values(random_: random.Random, data: bytes) -> bytes:
    """One to three values replaced, taken out, moved, or their keys changed."""
    text, constants = split(data)
    document = json.loads(text)
    raw: list[str] = []
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        _change_value(random_, document, raw)
    text_ = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for index, replacement in enumerate(raw):
        text_ = text_.replace(f'"@{index}@"', replacement)
    return with_header(text_.encode("utf-8", "surrogatepass"), constants)


def json_numbers(random_: random.Random, data: bytes) -> bytes:
    """One or two integers changed a little: most of these are well-formed, and only the Plan's rules can tell."""
    text, constants = split(data)
    document = json.loads(text)
    for _ in range(random_.choice((1, 1, 2))):
        container, key = random_.choice([p for p in _places(document) if type(p[0][p[1]]) is int])
        near = container[key] + random_.choice((-64, -2, -1, 1, 2, 64, 320))
        container[key] = random_.choice((near, near, near, random_.choice(EDGES[:-1]), random_.randrange(10)))
    return with_header(json.dumps(document, ensure_ascii=False).encode(), constants)


def _change_value(random_: random.Random, document: Any, raw: list[str]) -> None:
    places = list(_places(document))
    container, key = random_.choice(places)
    match random_.randrange(7):
        case 0 | 1:
            container[key] = f"@{len(raw)}@"
            raw.append(random_.choice(RAW_VALUES))
        case 2:
            container[key] = random_.choice(EDGES) * random_.choice((1, -1))
        case 3:
            other, where = random_.choice(places)
            container[key] = other[where] if not _contains(other[where], container) else 0
        case 4:
            del container[key]
        case 5 if isinstance(container, dict):
            # The same key again, or another one, before a value that is right.
            again = random_.choice((json.dumps(key), '"extra"', '"kind"'))
            raw.append(f"{json.dumps(container[key])},{again}:{json.dumps(container[key])}")
            container[key] = f"@{len(raw) - 1}@"
        case _ if isinstance(container, list):
            container.insert(key, container[key])
        case _:
            container[random_.choice(("extra", "", key + "x"))] = container.pop(key)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _contains(value: Any, container: Any) -> bool:
    """True where ``container`` is ``value`` or inside it, so that putting one into the other would make a loop."""
    return value is container or any(_contains(parent[key], container) for parent, key in list(_places(value)))


def _overwrite(data: bytes, at: int, piece: bytes) -> bytes:
    return (data[:at] + piece + data[at + len(piece) :])[: len(data)]


MUTATORS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    f.__name__: f for f in (bytes_only, bytes_with_checksum, header, json_bytes, json_values, json_numbers)
}

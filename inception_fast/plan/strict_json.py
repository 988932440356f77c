"""The subset of JSON that engine files use; ``csrc/plan/json.cpp`` accepts exactly the same texts.

UTF-8 without lone surrogates, no repeated key, integers of 64 bits, finite numbers, at most MAX_DEPTH nested
containers.
"""

from __future__ import annotations

import json
import math
from typing import NoReturn

from inception_fast.errors import EngineFileError

MAX_DEPTH = 100


def dumps(value: object) -> bytes:
    """Compact UTF-8 JSON.

    Raises:
        EngineFileError: something in ``value`` has no JSON form.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineFileError(f"cannot be written as JSON: {error}") from error


def loads(data: bytes) -> object:
    """The value of a JSON text.

    Raises:
        EngineFileError: the text is not JSON, or outside the subset; says where.
    """
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_no_constant,
        )
    except EngineFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise EngineFileError(f"not valid JSON: {error}") from error
    _check(value, 0)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise EngineFileError(f"JSON object with the key {repeated!r} twice")
    return value


def _integer(digits: str) -> int:
    # The length first: turning a long run of digits into an int takes quadratic time.
    value = int(digits) if len(digits) <= 20 else None
    if value is None or not -(1 << 63) <= value < 1 << 63:
        raise EngineFileError(f"JSON integer {digits[:24]} does not fit in 64 bits")
    return value


def _real(digits: str) -> float:
    value = float(digits)
    mantissa = digits.lower().partition("e")[0]
    if not math.isfinite(value) or (value == 0 and mantissa.strip("-0.")):
        raise EngineFileError(f"JSON number {digits[:24]} is out of range")
    return value


def _no_constant(name: str) -> NoReturn:
    raise EngineFileError(f"JSON number {name} is not finite")


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise EngineFileError(f"JSON string {value[:24]!a} has a lone surrogate") from error
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            raise EngineFileError(f"JSON nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            for key, item in value.items():
                _check(key, depth)
                _check(item, depth + 1)
        else:
            for item in value:
                _check(item, depth + 1)

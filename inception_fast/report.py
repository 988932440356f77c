"""What was done to a network, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass

from inception_fast.errors import EngineFileError
from inception_fast.graph.passes import PassReport
from inception_fast.plan import strict_json
from inception_fast.plan.cost import item_size
from inception_fast.plan.engine_file import EngineFile
from inception_fast.plan.serialize import decode


@dataclass(frozen=True)
class Report:
    """Returned by ``FastModel.report()``.

    Attributes:
        backend, precision: what runs it.
        driver: which of the backend's ways to launch kernels, '' where it has one.
        reason: why this backend, and at which batch sizes another one.
        memory: bytes of weights that it holds, as an engine file has them and as its backends have packed them.
        working: bytes of activations and scratch that calls have left there for the next ones.
        steps: number of steps of each kind.
        stages: number of stages.
        arena: bytes of intermediate activations per image.
        passes: what each pass changed, in numbers, and what it left alone and why.
        images: what it is called with: dtype and shape, N images.
    """

    backend: str
    precision: str
    steps: dict[str, int]
    stages: int
    arena: int
    passes: list[dict[str, object]]
    driver: str = ""
    reason: str = ""
    memory: int = 0
    working: int = 0
    images: str = ""

    @staticmethod
    def of(
        engine: EngineFile, backend: str, driver: str = "", reason: str = "", memory: int = 0, working: int = 0
    ) -> Report:
        plan, metadata = engine.plan, engine.metadata
        shape = ", ".join(map(str, metadata.called_with))
        return Report(
            backend,
            metadata.precision,
            dict(Counter(s.kind for s in plan.steps)),
            len(plan.stages),
            plan.arena * item_size(plan.dtype),
            _passes_of(metadata.report),
            driver,
            reason,
            memory,
            working,
            f"{metadata.input_dtype} [N, {shape}]",
        )

    def __str__(self) -> str:
        steps = ", ".join(f"{count} {kind}" for kind, count in self.steps.items())
        arena = f"arena {self.arena / 2**20:.1f} MiB an image, weights {self.memory / 2**20:.1f} MiB"
        if self.working:
            arena += f", kept between calls {self.working / 2**20:.1f} MiB"
        driver = f" ({self.driver} driver)" if self.driver else ""
        lines = [
            f"takes {self.images}",
            f"backend {self.backend}{driver}, precision {self.precision}" + (f": {self.reason}" if self.reason else ""),
            f"{sum(self.steps.values())} steps ({steps}) in {self.stages} stages, {arena}",
        ]
        for entry in self.passes:
            lines.append(_pass_line(entry))
            lines += [f"    {note}" for note in entry["notes"]]  # type: ignore[attr-defined]
        return "\n".join(lines)


def _passes_of(text: str) -> list[dict[str, object]]:
    """What :func:`passes_to_text` wrote; nothing where another program wrote the file, whose text may be any."""
    try:
        entries = strict_json.loads((text or "[]").encode())
        decode(tuple[PassReport, ...], entries, "report")
    except EngineFileError:
        return []
    assert isinstance(entries, list)
    return entries


def _pass_line(entry: dict[str, object]) -> str:
    before, after = entry["before"], entry["after"]
    assert isinstance(before, dict) and isinstance(after, dict)
    changed = [f"{k} {before[k]} -> {after[k]}" for k in before if before[k] != after[k]]
    return f"{entry['name']}: {', '.join(changed) or 'no change'}"


def passes_to_text(reports: tuple[PassReport, ...]) -> str:
    """The passes' reports as the JSON text that an engine file keeps."""
    return json.dumps([asdict(r) for r in reports])

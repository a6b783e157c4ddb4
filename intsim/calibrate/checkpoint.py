"""A folder from which a stopped reconstruction goes on: every parameter after the last finished unit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from intsim.errors import CalibrationError

if TYPE_CHECKING:
    from torch import Tensor

    from intsim.calibrate.method import Problem
    from intsim.calibrate.settings import Settings
    from intsim.calibrate.simulation import Simulation
    from intsim.ir.float_graph import FloatGraph

STATE, STOPPED = "state.safetensors", "stopped.safetensors"


class Checkpoint:
    """What Problem.resume is for; without a folder nothing is written or read."""

    def __init__(self, problem: Problem):
        self.folder = problem.resume
        untuned = replace(problem.settings, tune="none")  # tuning comes after it and may differ
        self.key = "" if self.folder is None else digest_of(untuned, problem.placed.graph, problem.inputs)

    def load(self, simulation: Simulation) -> tuple[int, dict[str, str]]:
        """Bring the parameters to where they were; the number of finished units, and their notes.

        raises  CalibrationError for the state of another network, data, or settings
        """
        if self.folder is None or not (self.folder / STATE).exists():
            return 0, {}
        from safetensors import SafetensorError, safe_open

        path = self.folder / STATE
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != self.key:
                    raise CalibrationError(
                        f"{path}: was made with another network, other data or settings; give another folder"
                    )
                simulation.load({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            raise CalibrationError(f"{path}: no state to resume from: {error}") from None
        return int(metadata["finished"]), json.loads(metadata["notes"])

    def save(self, simulation: Simulation, finished: int, notes: Mapping[str, str], file: str = STATE) -> None:
        """Keep the parameters after `finished` units."""
        if self.folder is None:
            return
        from safetensors.torch import save

        from intsim.ir.file import write_atomically

        self.folder.mkdir(parents=True, exist_ok=True)
        metadata = {"key": self.key, "finished": str(finished), "notes": json.dumps(dict(notes))}
        write_atomically(self.folder / file, save(simulation.state(), metadata))

    def keep(self, simulation: Simulation) -> str:
        """Write the last good state of a training that failed, apart from what resumes; where, for the message."""
        if self.folder is None:
            return ""
        self.save(simulation, 0, {}, STOPPED)
        return f" (the last good state is in {self.folder / STOPPED})"


def digest_of(settings: Settings, graph: FloatGraph, inputs: Iterable[Tensor]) -> str:
    """Of everything that decides a calibration's result."""
    options = dict(sorted(settings.options.items()))
    digest = hashlib.sha256(repr(replace(settings, options=options)).encode())
    for node in graph.nodes:
        digest.update(f"{node.name} {node.op} {node.inputs} {dict(node.attributes)} {node.grid}".encode())
        for array in node.arrays.values():
            digest.update(array.tobytes())
    for tensor in inputs:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

"""intsim eval: the accuracy of the integers."""

from __future__ import annotations

from intsim.cli.options import BackendName, Data, File, Json, Threads


def evaluate(
    file: File, data: Data, backend: BackendName = "native", threads: Threads = None, json: Json = False
) -> None:
    """Count the images that a model gets right."""
    from intsim.cli.console import print_json, show_progress
    from intsim.verbs import evaluate as evaluate_model

    with show_progress() as progress:
        accuracy = evaluate_model(file, data, backend=backend, threads=threads, progress=progress)
    if json:
        print_json({"samples": accuracy.samples, "top1": accuracy.top1, "backend": backend})
    else:
        print(f"top-1 {accuracy.top1:.2%}: {accuracy.correct:,} of {accuracy.samples:,} samples, {backend} backend")

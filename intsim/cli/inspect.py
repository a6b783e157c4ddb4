"""intsim inspect: the integer graph as text."""

from __future__ import annotations

from dataclasses import asdict, astuple, fields

from intsim.cli.options import File, Json


def inspect(file: File, json: Json = False) -> None:
    """Print the integer graph as text.

    It shows types, scales and rounding rules, then each layer's work, bytes and native kernel, why that is exact, and
    the memory for activations.
    """
    from intsim.backends.native import NativeBackend
    from intsim.cli.console import print_json, print_table
    from intsim.ir.text import print_graph
    from intsim.reporting.layers import LayerSummary, summarize
    from intsim.verbs import load

    graph = load(file).graph
    native = NativeBackend(graph)
    text, layers = print_graph(graph, elide=True), summarize(graph, native.kernels)
    if json:
        document = {"metadata": dict(graph.metadata), "file_bytes": file.stat().st_size, "text": text}
        memory = {"arena_bytes": native.arena_bytes, "live_bytes": native.live_bytes}
        print_json(document | memory | {"layers": [asdict(layer) for layer in layers], "proofs": native.proofs})
        return
    print(text)
    print_table([field.name.replace("_", " ") for field in fields(LayerSummary)], map(astuple, layers))
    print_table(["layer", "native kernel: scheme and proof"], native.proofs.items())
    print(f"  activations of an image: {native.arena_bytes:,} bytes, of which {native.live_bytes:,} are alive at once")
    print(f"  {file}: {file.stat().st_size:,} bytes, {sum(layer.macs for layer in layers):,} MACs an image")

"""The independent checker accepts true certificates, and refuses them once anything in them is changed."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intsim.ir.file import Model, save
from intsim.lower import lower
from intsim.verification import prove
from tests.certificate_checker import Checker, RefusedError
from tests.verification.networks import FORMS, small_network

pytestmark = pytest.mark.torchless

MUTATIONS = 240


@cache
def model_of(form: str) -> Model:
    quantized = small_network(form)
    return Model(lower(quantized), quantized)


@cache
def checker_of(form: str) -> Checker:
    return Checker(model_of(form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_true_certificate_is_accepted(form: str, seed: int) -> None:
    quantized = small_network(form, seed)
    model = Model(lower(quantized), quantized)
    certificate = prove(model)
    assert certificate.proved and certificate.chains
    Checker(model).check(json.loads(json.dumps(certificate.to_dict())))


def test_the_checker_runs_on_files(tmp_path: Path) -> None:
    save(tmp_path / "m.intsim", model_of("shift"))
    certificate = prove(model_of("shift")).to_dict()
    for stated, status in ((certificate, 0), ({**certificate, "proved": False}, 1)):
        (tmp_path / "c.json").write_text(json.dumps(stated))
        files = [str(tmp_path / "m.intsim"), str(tmp_path / "c.json")]
        command = [sys.executable, "-m", "tests.certificate_checker", *files]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
        assert done.returncode == status, done.stderr


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a JSON document, leaves and containers."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def mutate(document: Any, rng: random.Random) -> str:
    """Change one place of a certificate; what was done."""
    path = rng.choice([place for place in places(document) if place])
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    key, value = path[-1], parent[path[-1]]
    if key == "distances":
        parent[key], what = wrong_distances(value, rng)
    elif rng.random() < 0.15:
        what = "removed"
        del parent[key]
    elif isinstance(value, bool):
        parent[key], what = not value, "negated"
    elif isinstance(value, int):
        parent[key] = rng.choice([value + 1, value - 1, 2 * value + 3, -value - 1, float(value), str(value), None])
        what = f"{value} -> {parent[key]!r}"
    elif isinstance(value, str):
        parent[key], what = value + "x" if rng.random() < 0.5 else value[1:], "another text"
    elif value is None:
        parent[key], what = 0, "0 for null"
    elif isinstance(value, list):
        value.append(value[-1] if value else 1)
        what = "one more"
    else:
        value["more"], what = 1, "one more key"
    return f"{'.'.join(map(str, path))}: {what}"


def wrong_distances(text: str, rng: random.Random) -> tuple[str, str]:
    """One crossing moved by one accumulator, or one character changed so that it does not unpack any more."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8").copy()
    if rng.random() < 0.7:
        place = rng.randrange(len(data) - 1)
        by = rng.choice([-1, 1])
        data[place] += by
        data[place + 1] -= by
        return base64.b64encode(zlib.compress(data.tobytes())).decode(), f"crossing {place} moved by {by}"
    place = rng.randrange(len(text) // 2)
    return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :], f"character {place} changed"


@pytest.mark.parametrize("seed", range(MUTATIONS))
def test_a_changed_certificate_is_refused(seed: int) -> None:
    rng = random.Random(seed)
    form = rng.choice(FORMS)
    certificate = json.loads(json.dumps(prove(model_of(form)).to_dict()))
    print(mutate(certificate, rng))
    with pytest.raises(RefusedError):
        checker_of(form).check(certificate)


@pytest.mark.parametrize("form", ["multiplier", "threshold"])
def test_every_crossing_is_tested(form: str) -> None:
    certificate = prove(model_of(form)).to_dict()
    for layer in certificate["layers"]:
        if layer.get("epilogue", {}).get("method") != "crossings":
            continue
        for seed in range(20):
            rng, changed = random.Random(seed), json.loads(json.dumps(certificate))
            (stated,) = (v for v in changed["layers"] if v["name"] == layer["name"])
            stated["epilogue"]["distances"], what = wrong_distances(stated["epilogue"]["distances"], rng)
            print(what)
            with pytest.raises(RefusedError):
                checker_of(form).check(changed)


def test_the_proof_of_one_network_does_not_serve_another() -> None:
    other = prove(model_of("shift")).to_dict()
    with pytest.raises(RefusedError, match="disagree"):
        checker_of("multiplier").check(other)

"""intsim allocate and intsim sweep: documents, files and exit statuses."""

from __future__ import annotations

import sqlite3
import tomllib

import pytest

from intsim.cli.plot import DOT, LINES, draw_points

MODEL = ("intsim.demo.network:digits_net", "--data", "intsim.demo.digits:calibration")
ON = (*MODEL, "--target", "systolic_ws_fused", "--bits", "3,8")
FIXED = {"stem", "head"}


def test_widths_within_every_budget_for_quantize_to_read(intsim, tmp_path):
    file, model = tmp_path / "widths.toml", tmp_path / "digits.intsim"
    result = intsim("allocate", *ON, "--budget", "cycles=0.7", "--budget", "size=40kB", "-o", file, "--json")
    assert result.status == 0
    found = result.json
    assert found["status"] == "optimal"
    assert found["cost"]["cycles"] <= 0.7 * found["uniform_cost"]["cycles"]
    assert found["cost"]["size_bits"] <= 320_000
    assert all(bits == [8, 8] if name in FIXED else set(bits) <= {3, 8} for name, bits in found["bits"].items())
    written = tomllib.loads(file.read_text())["layer"]
    assert {name: [w["weight_bits"], w["act_bits"]] for name, w in written.items()} == found["bits"]

    assert intsim("quantize", *MODEL, "--method", "minmax", "--widths", file, "-o", model).status == 0
    cost = intsim("cost", model, "--target", "systolic_ws_fused", "--json").json
    assert 0.9 * found["cost"]["cycles"] <= cost["total_cycles"] <= found["cost"]["cycles"]  # results stored narrower


def test_the_front_and_its_table(intsim):
    result = intsim("allocate", *ON, "--budget", "energy=0.8", "--pareto", "--json")
    front = [(point["cost"]["energy_pj"], point["predicted_loss"]) for point in result.json["front"]]
    assert len(front) > 10
    assert front == sorted(front, key=lambda point: (point[0], -point[1]))
    drawn = intsim("allocate", *ON, "--budget", "energy=0.8", "--pareto").out
    assert drawn.rstrip().endswith("energy_pj")
    assert drawn.count(DOT) > 10
    assert "proven optimal" in intsim("allocate", *ON, "--minimise", "size", "--budget", "loss=1e6").out


def test_layers_that_meet_share_their_widths_if_asked_to(intsim):
    bits = intsim("allocate", *ON, "--budget", "cycles=0.7", "--tie", "--json").json["bits"]
    for block in ("block2", "block3"):
        assert bits[f"{block}.conv2"] == bits[f"{block}.shortcut.0"]


def test_measured_losses_are_kept_for_the_next_allocation(intsim, tmp_path):
    measured = (*ON, "--bits", "2,8", "--loss", "cross_entropy", "--sensitivities", tmp_path / "losses")
    first = intsim("allocate", *measured, "--budget", "bops=0.5", "--json")
    assert first.status == 0
    (file,) = (tmp_path / "losses").iterdir()
    lines = file.read_text()
    assert first.json["cost"]["bops"] <= 0.5 * first.json["uniform_cost"]["bops"]
    dual = intsim(
        "allocate",
        *measured,
        "--budget",
        f"loss={1.001 * first.json['predicted_loss']:.9f}",
        "--minimise",
        "bops",
        "--json",
    )
    assert dual.json["cost"]["bops"] <= first.json["cost"]["bops"]
    assert file.read_text() == lines


def test_how_well_the_loss_ranks_random_allocations(intsim, tmp_path):
    measured = (*ON, "--bits", "2,8", "--loss", "kl", "--sensitivities", tmp_path, "--rank", 4)
    found = intsim("allocate", *measured, "--json").json["ranking"]
    assert found["allocations"] == 4
    assert -1 <= found["tau"] <= 1 and 0 <= found["p"] <= 1
    assert f"Kendall's tau {found['tau']:.2f}" in intsim("allocate", *measured).out


def test_what_nothing_meets_is_status_1_and_no_file(intsim, tmp_path):
    file = tmp_path / "widths.toml"
    result = intsim("allocate", *ON, "--budget", "cycles=0.01", "-o", file)
    assert (result.status, result.out.count("\n")) == (1, 1)
    assert "the nearest feasible budget is cycles=" in result.out
    assert not file.exists()
    document = intsim("allocate", *ON, "--budget", "cycles=0.01", "--json").json
    assert document["status"] == "infeasible"
    nearest = document["nearest"]["cycles"]
    assert intsim("allocate", *ON, "--budget", f"cycles={nearest}").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--budget", "cycle=0.5", "-o", "absent/widths.toml"), "there is no folder absent"),  # before anything else
        (("--rank", "5"), "only measured losses can be ranked"),
        (("--loss", "kl", "--rank", "1"), "at least 2 allocations"),
        (("--budget", "cycle=0.5"), "did you mean 'cycles'"),
        (("--budget", "size=300"), "no unit"),
        (("--loss", "klu"), "did you mean 'kl'"),
        (("--loss", "kl", "--method", "mes"), "did you mean 'mse'"),
        (("--seed", "-1"), "seed: expected a whole number from 0"),
        (("--sensitivities", __file__), "is a file, expected a folder"),
        (("--budget", "size=0.5", "--budget", "size=0.6"), "two budgets for size"),
        (("--minimise", "area"), "measure 'area': expected loss or cycles"),
        (("--bits", "2,x"), "--bits 2,x: expected whole numbers"),
        (("--bits", "2,9"), "expected 2 to 8 bits, got 9"),
        (("-o", "nowhere/widths.toml"), "there is no folder nowhere"),
    ],
)
def test_bad_arguments(intsim, arguments, message):
    assert message in intsim("allocate", *ON, *arguments).complaint


def test_a_sweep_and_its_second_run(intsim, tmp_path):
    (tmp_path / "net.csv").write_text("Layer,M,N,K\nfc,10,20,30\n")
    spec, results = tmp_path / "spec.toml", tmp_path / "results.sqlite"
    spec.write_text(
        'networks = ["net.csv"]\ntargets = ["systolic_ws", "bitfusion"]\nweight_bits = [4, 16]\nact_bits = [4]\n'
    )
    first = intsim("sweep", spec, "-o", results, "--workers", 1, "--json")
    assert (first.status, first.json) == (1, {"points": 4, "estimated": 4, "failed": 2})
    again = intsim("sweep", spec, "-o", results)
    assert "4 points, 0 of them new" in again.out
    with sqlite3.connect(results) as connection:
        assert connection.execute("SELECT count(*) FROM points WHERE total_cycles > 0").fetchone() == (2,)


def test_a_plan_that_is_none(intsim, tmp_path):
    assert "not a readable TOML file" in intsim("sweep", tmp_path / "spec.toml", "-o", tmp_path / "r.sqlite").complaint
    assert "no folder" in intsim("sweep", tmp_path / "spec.toml", "-o", tmp_path / "nowhere" / "r.sqlite").complaint


def test_points_lie_where_they_belong():
    """Powers of ten on a straight line; the ends in the corners."""
    rows = draw_points([(i, 10.0**-i) for i in range(LINES)], "cost", "loss").splitlines()[1 : LINES + 1]
    columns = [row.index(DOT) for row in rows]
    assert columns == sorted(columns)
    assert len({b - a for a, b in zip(columns, columns[1:], strict=False)}) <= 2
    assert rows[0].startswith("    1 │•")
    assert rows[-1].strip().startswith("1e-17 │")
    assert draw_points([(3, 0)], "cost", "loss").count(DOT) == 1

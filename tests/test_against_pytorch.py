"""The benchmark against PyTorch: its table, its checks and its command line."""

import json
import math
import subprocess
import sys

import pytest
from conftest import ROOT

from benchmarks import against_pytorch
from benchmarks.against_pytorch import OURS, PYTHON, SIDES, Side, difference, num_epochs, ratio, row
from benchmarks.measuring import chosen, measure
from d2l_recsys.errors import SettingError
from d2l_recsys.sections.command_line import run


def one_round(ours=1.0, slower=()):
    """The figures of a round; all sides of PyTorch take 4 seconds, or as long as ``slower`` says.

    The first epoch takes no time at all: it does not count.
    """
    losses, examples = [0.9, 0.5, 0.4], [64, 64, 128]
    figures = {
        side.name: {"seconds": [0.0, 9.0, 4.0], "losses": losses, "examples": examples}
        for side in SIDES
    }
    figures[OURS] = {"seconds": [0.0, 9.0, ours], "losses": losses, "examples": examples}
    for side, seconds in dict(slower).items():
        figures[side.name] = {**figures[side.name], "seconds": [0.0, seconds, 9.0]}
    return figures


def test_a_cell_is_the_fastest_epoch_of_all_rounds_and_a_mark_names_its_adam():
    times = {
        Side("sliced", 1, "default"): 3,
        Side("sliced", 2, "fused"): 2,
        Side("loader", 1): 5,
        Side("loader", 2): 6,
    }
    rounds = [one_round(2, times), one_round(1, times), one_round(4, {**times, SIDES[0]: 3.5})]
    rounds[-1][Side("sliced", 2).name]["losses"] = [0.9, 0.5, 0.41]
    assert row("mf", rounds) == [
        "mf",
        "1.000",
        "* 3.000",
        "2.000",
        "5.000",
        "6.000",
        "1.50x [0.75, 3.00]",
        "1.00x [0.50, 2.00]",
        "0.4500",
        "0.4550",
    ]


def test_a_ratio_compares_the_fastest_side_with_up_to_so_many_threads():
    figures = one_round(2, {Side("loader", 2): 1, Side("loader", 1): 3})
    assert (ratio(figures, 1), ratio(figures, 2)) == (1.5, 0.5)


def test_both_sides_must_learn_the_same():
    sliced, loader = Side("sliced", 1), Side("loader", 1)
    figures = one_round()
    assert difference(sliced, figures) is None
    figures[loader.name] = {"losses": [0.9, 0.54], "examples": [100, 100]}
    assert difference(loader, figures) is None
    # Our mean loss in epochs 2 and 3 is 0.45.
    for loss, is_like_ours in ((0.494, True), (0.496, False), (0.406, True), (0.404, False)):
        figures[sliced.name]["losses"] = [0.0, loss - 0.1, loss + 0.1]
        told = difference(sliced, figures)
        shown = f"its mean loss in epochs 2 to 3 is {loss:.4f}, ours is 0.4500"
        assert told is None if is_like_ours else shown in told
    figures[sliced.name]["losses"] = [0.9, 0.5, math.nan]
    assert "nan" in difference(sliced, figures)
    figures = one_round()
    figures[sliced.name]["examples"] = [64, 64, 64]
    assert "it trains on [64, 64, 64] examples" in difference(sliced, figures)


def test_the_data_loader_trains_for_few_epochs_and_autorec_for_more():
    assert num_epochs("mf", 9) == num_epochs("mf", 9, "sliced") == 9
    assert [num_epochs("mf", epochs, "loader") for epochs in (2, 9)] == [2, 3]
    assert num_epochs("autorec", 2) == num_epochs("autorec", 2, "loader") == 6
    assert num_epochs("autorec", 9, "loader") == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "mf,svd"], "--only has 'svd'; choose from: mf, autorec, neumf, caser, fm"),
        (["--rounds", "0"], "--rounds"),
        (["--epochs", "1"], "--epochs"),
        (["--data-dir", "nowhere"], "--data-dir: the folder nowhere does not exist"),
        (
            ["--python", "nowhere/python"],
            "No such file or directory); run 'make .venv-ports/ready'",
        ),
        (["--python", sys.executable], "cannot import torch (ModuleNotFoundError"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    # Fail even if PyTorch is installed beside MXNet.
    monkeypatch.setattr(against_pytorch, "VERSIONS", f"import no_torch; {against_pytorch.VERSIONS}")
    with pytest.raises(SystemExit) as left:
        run(against_pytorch.main, arguments)
    printed = capfd.readouterr()
    assert (left.value.code, printed.out) == (2, "")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_without_the_environment_of_the_ports_the_command_names_its_make_target(
    tmp_path, monkeypatch, capfd
):
    missing = tmp_path / "python"
    monkeypatch.setattr(against_pytorch, "PYTHON", missing)
    with pytest.raises(SystemExit) as left:
        run(against_pytorch.main, [])
    assert left.value.code == 2
    assert str(missing) in (error := capfd.readouterr().err)
    assert "run 'make .venv-ports/ready'" in error


def test_a_measured_command_gives_its_figures_or_ends_the_program():
    figures = measure([sys.executable, "-S", "-c", "print('a'); print('{\"b\": 3}')"])
    assert figures["b"] == 3
    assert figures["whole"] > 0 < figures["memory"]
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        measure([sys.executable, "-S", "-c", "1 / 0"])


def test_only_is_split_at_commas():
    assert chosen("fm,mf", ("mf", "fm")) == ["fm", "mf"]
    with pytest.raises(SettingError, match="--only has ''"):
        chosen("mf,", ("mf", "fm"))


needs_pytorch = pytest.mark.skipif(
    not PYTHON.is_file(), reason="there is no .venv-ports; run 'make .venv-ports/ready' to make it"
)


@needs_pytorch
@pytest.mark.slow
def test_both_sides_train_and_the_table_has_their_figures(ml100k_dir, tmp_path):
    pytest.importorskip("d2l_recsys.backend")
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.against_pytorch", "--only", "neumf"]
    command += ["--rounds", "1", "--epochs", "3", "--data-dir", ml100k_dir, "--json-file", file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = json.loads(file.read_text())
    (figures,) = kept["runs"]["neumf"]
    assert set(figures) == {OURS, *(side.name for side in SIDES)}
    for of_side in figures.values():
        assert [len(of_side[name]) for name in ("seconds", "losses", "examples")] == [3, 3, 3]
        assert min(of_side["seconds"]) > 0
        assert of_side["losses"] == sorted(of_side["losses"], reverse=True)
    assert next(line for line in done.stdout.splitlines() if line.startswith("neumf")).split() == [
        word for cell in row("neumf", [figures]) for word in cell.split()
    ]
    assert f"PyTorch {kept['pytorch']['torch']}" in done.stdout


# Computes the gradients of a loss with the fast net and with the plain net. Prints the largest
# difference between both; the largest number in the gradient of each parameter; and the batches of
# two epochs of each loop.
LOOPS = """
import copy, json, sys
import torch
from benchmarks.pytorch_loops import (
    FAST_LOSSES, LOSSES, Loaded, Slices, Training, first_net, with_fast_tables
)
model = sys.argv[1]
settings = {"num_users": 7, "num_items": 9, "num_factors": 4, "nums_hiddens": [6, 5], "L": 3,
            "d": 3, "d_prime": 2, "dropout": 0.5, "batch_size": 4}
torch.manual_seed(0)
rows = torch.arange(10)
sequences = [torch.randint(9, (10, 3))] if model == "caser" else []
net = first_net(model, settings).eval()
for weight in net.parameters():
    torch.nn.init.normal_(weight)
batch = [rows % 7, *sequences, rows % 9, (rows + 4) % 9]
fast_net = with_fast_tables(copy.deepcopy(net))
FAST_LOSSES[model](fast_net, *batch).sum().backward()
LOSSES[model](net, *batch).sum().backward()
fast = {name: weight.grad for name, weight in fast_net.named_parameters()}
plain = {name: weight.grad for name, weight in net.named_parameters()}
assert fast.keys() == plain.keys()
error = max(float((fast[name] - plain[name]).abs().max()) for name in plain)
largest = [float(gradient.abs().max()) for gradient in plain.values()]
of_loop = {}
for loop in (Slices, Loaded):
    batches = loop(Training(settings, [rows, 2 * rows], None))
    of_loop[loop.__name__] = [[[b.tolist() for b in batch] for batch in batches] for _ in range(2)]
print(json.dumps([error, largest, of_loop]))
"""


@needs_pytorch
@pytest.mark.slow
@pytest.mark.parametrize("model", ["neumf", "caser"])
def test_the_fast_losses_have_the_plain_gradients_and_every_row_is_in_a_batch(model):
    done = subprocess.run(
        [str(PYTHON), "-c", LOOPS, model], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    error, largest, of_loop = json.loads(done.stdout)
    assert error < 1e-4 < 1e-2 < min(largest)
    for loop, sizes in (("Slices", [[4, 4], [4, 4, 4]]), ("Loaded", [[4, 4, 2], [4, 4, 2]])):
        epochs = of_loop[loop]
        assert [[len(batch[0]) for batch in epoch] for epoch in epochs] == sizes
        rows = [row for epoch in epochs for batch in epoch for row in batch[0]]
        # In 20 rows, cut after the tenth, each half has every row.
        assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
        assert rows[:10] != rows[10:]
        assert [2 * row for row in rows] == [
            row for epoch in epochs for batch in epoch for row in batch[1]
        ]

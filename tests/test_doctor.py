import json
import sys

import pytest
from conftest import run_script

from d2l_recsys.cli import doctor as command
from d2l_recsys.cli.doctor import doctor


def checks(capsys, **options):
    doctor(**options, json=True)
    document = json.loads(capsys.readouterr().out)
    return document["can_train"], {c["name"]: (c["value"], c["ok"]) for c in document["checks"]}


def test_it_tells_what_a_bug_report_needs(ratings_dir, capsys):
    pytest.importorskip("d2l_recsys.backend")
    can_train, found = checks(capsys, data_dir=ratings_dir)
    assert can_train
    assert {"d2l-recsys", "Python", "system", "processor", "numpy", "mxnet"} <= set(found)
    assert found["devices"] == ("cpu(0)", True)
    assert found["training"] == ("one step done", True)
    assert found["threads"][0] == "1"
    assert not found["data"][1]
    assert "does not have the chapter's data" in found["data"][0]


def test_without_mxnet_training_is_impossible(tmp_path):
    (tmp_path / "mxnet.py").write_text("raise ModuleNotFoundError('none', name='mxnet')\n")
    done = run_script("d2l_recsys/__main__.py", "doctor", PYTHONPATH=str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("\n\ntraining is impossible\n")
    assert "PROBLEM: MXNet cannot be loaded: MXNet is not installed" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if "cache" not in path.name] == ["mxnet.py"]


def test_a_folder_that_cannot_be_written_and_one_that_is_not_there_are_told(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("d2l_recsys.backend")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.os, "access", lambda path, mode: False)
    can_train, found = checks(capsys, data_dir=tmp_path / "nowhere")
    assert can_train
    assert found["results"] == ("cannot be written here", False)
    assert found["data"][0].endswith("nowhere does not exist; name another one")
    assert "mxnet" in sys.modules

import json

import numpy as np
import pytest

pytest.importorskip("d2l_recsys.backend")
from d2l_recsys.backend import mx
from d2l_recsys.ctr import CTRDataset
from d2l_recsys.errors import DataError
from d2l_recsys.saved_models import KIND, MODEL, VERSION, load_model, save_model
from d2l_recsys.sections.registry import SECTIONS
from d2l_recsys.storage.archive import pack, unpack

# The options of each section. They differ from the defaults, to check that a model saves them.
OPTIONS = {
    "mf": {"num_factors": 7},
    "autorec": {"num_hidden": 9, "variant": "user", "batch_size": 8},
    "neumf": {"nums_hiddens": [6, 4], "head": "linear"},
    "caser": {"L": 4, "d_prime": 0},
    "fm": {"num_factors": 5, "protocol": "defined"},
    "deepfm": {"mlp_dims": [6], "protocol": "defined"},
}


def inputs_of(section, model, clicks_dir):
    """The inputs of a section's net for a few users or rows."""
    if SECTIONS[section].on_clicks:
        lines = (clicks_dir / "test.csv").read_text().splitlines()[:5]
        return [model.ids.features([line.split("\t")[1:] for line in lines])]
    if section == "autorec":
        return [np.eye(3, 40, dtype="float32") * 4]
    users, items = model.ids.user_rows([1, 30, 7]), model.ids.item_rows([40, 1, 5])
    if section == "caser":
        return [users, np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], "int32"), items]
    return [users, items]


@pytest.mark.parametrize("section", OPTIONS)
def test_a_loaded_model_predicts_the_bits_of_the_trained_one(
    section, ratings_dir, clicks_dir, tmp_path, monkeypatch
):
    from d2l_recsys.runs import run

    trained = {}
    finish = run.Run.finish
    monkeypatch.setattr(
        run.Run,
        "finish",
        lambda self, *a, **k: trained.update(net=self._model.net) or finish(self, *a, **k),
    )
    data_dir = clicks_dir if SECTIONS[section].on_clicks else ratings_dir
    common = {"num_epochs": 1, "batch_size": 16, "data_dir": data_dir, "quiet": True}
    SECTIONS[section].main()(**{**common, **OPTIONS[section]}, out=tmp_path, num_devices=2)
    model = load_model(tmp_path)
    assert model.section == section
    for name, value in OPTIONS[section].items():
        assert model.arguments.get(name, value) == value
    inputs = [mx.np.array(part, dtype=part.dtype) for part in inputs_of(section, model, clicks_dir)]
    expected = trained["net"](*inputs).asnumpy()
    np.testing.assert_array_equal(model.net(*inputs).asnumpy(), expected)
    assert np.ptp(expected) > 0
    elsewhere = load_model(tmp_path, mx.cpu(1))
    assert elsewhere.net(*(part.as_in_ctx(mx.cpu(1)) for part in inputs)).ctx == mx.cpu(1)


@pytest.fixture
def folder(ratings_dir, tmp_path):
    SECTIONS["mf"].main()(num_epochs=1, batch_size=64, data_dir=ratings_dir, out=tmp_path)
    return tmp_path


def test_the_ids_are_those_of_the_file(folder, clicks_dir):
    ids = load_model(folder).ids
    assert (len(ids.users), len(ids.items)) == (30, 40)
    assert ids.user_rows([20]).tolist() == [19]
    with pytest.raises(DataError, match="item 41 was not in the data"):
        ids.item_rows([41])
    options = {"num_epochs": 1, "batch_size": 64, "data_dir": clicks_dir, "out": folder / "fm"}
    SECTIONS["fm"].main()(**options, quiet=True)
    data = CTRDataset(clicks_dir / "train.csv")
    assert load_model(folder / "fm").ids.feat_mapper == data.feat_mapper


def test_a_model_is_saved_as_its_run_saves_it(folder, tmp_path):
    (tmp_path / "copy").mkdir()
    save_model(tmp_path / "copy", load_model(folder))
    assert (tmp_path / "copy" / MODEL).read_bytes() == (folder / MODEL).read_bytes()


def test_nothing_in_the_file_is_pickled(folder):
    content = (folder / MODEL).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert {entry.get("dtype") for entry in header.values()} == {None, "F32", "I64"}


def test_where_there_is_no_model_one_line_says_so(tmp_path):
    with pytest.raises(DataError, match=rf"there is no .*{MODEL}; name the folder of a finished"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content, arrays: content.update(section="svd"),
        lambda content, arrays: content.update(section="fm"),
        lambda content, arrays: content.update(section=["mf"]),
        lambda content, arrays: content.update(arguments=[1]),
        lambda content, arrays: content["arguments"].update(num_factors=10**12),
        lambda content, arrays: content["arguments"].update(num_users=10**12),
        lambda content, arrays: content["arguments"].update(num_users="many"),
        lambda content, arrays: content["arguments"].update(num_items=-5),
        lambda content, arrays: content["arguments"].update(prefix=3),
        lambda content, arrays: content["arguments"].pop("num_items"),
        lambda content, arrays: arrays.pop("ids/users"),
        lambda content, arrays: arrays.update({"ids/users": np.zeros(30)}),
        lambda content, arrays: arrays.update({"ids/users": np.arange(29)}),
        lambda content, arrays: arrays.update({"ids/items": np.zeros(40, "int64")}),
        lambda content, arrays: arrays.pop("parameters/P.weight"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused(folder, change):
    content, arrays = unpack(folder / MODEL, KIND, VERSION, "")
    change(content, arrays)
    (folder / MODEL).write_bytes(pack(KIND, VERSION, content, arrays))
    with pytest.raises(
        DataError, match=rf"{MODEL} is not a complete model .*; run its section again"
    ):
        load_model(folder)

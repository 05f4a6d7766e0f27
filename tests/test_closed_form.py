import dataclasses

import numpy as np
import pytest

from d2l_recsys.errors import DataError
from d2l_recsys.model_bases.closed_form import ClosedForm, axes
from d2l_recsys.saved_models import KIND, MODEL, VERSION, TrainedModel, load_model, save_model
from d2l_recsys.saved_models.ids import RatingIds
from d2l_recsys.sections.registry import COMPANIONS
from d2l_recsys.storage.archive import pack, unpack


@dataclasses.dataclass(frozen=True)
class Factors(ClosedForm):
    P: np.ndarray = axes("users", "factors")
    Q: np.ndarray = axes("items", "factors")
    scale: float


def parts(num_users=3, num_items=4, k=2):
    rng = np.random.default_rng(0)
    P, Q = rng.normal(size=(num_users, k)), rng.normal(size=(num_items, k))
    return {"P": P.astype(np.float32), "Q": Q.astype(np.float32)}


def test_a_model_is_its_arrays_and_its_numbers():
    model = Factors(**parts(), scale=2.0)
    assert list(model.arrays) == ["P", "Q"]
    assert model.numbers == {"scale": 2.0}
    again = Factors.from_parts(model.arrays, model.numbers, users=3, items=4)
    assert again.P is model.P
    assert again.scale == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"P": np.zeros((2, 2), np.float32)}, "P has 2 users, not 3"),
        ({"Q": np.zeros((4, 3), np.float32)}, "Q has 3 factors, not 2"),
        ({"Q": np.zeros((4, 2))}, "Q is not a float32 array"),
        ({"Q": np.zeros(4, np.float32)}, "Q has the wrong number of axes, 1"),
        ({"scale": "2"}, "scale is not a number"),
        ({"scale": True}, "scale is not a number"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(change, message):
    arrays, numbers = parts(), {"scale": 2.0}
    for name, value in change.items():
        (arrays if isinstance(value, np.ndarray) else numbers)[name] = value
    with pytest.raises(ValueError, match=message):
        Factors.from_parts(arrays, numbers, users=3, items=4)


def test_parts_that_are_missing_or_too_many_are_refused():
    for arrays, numbers in (({"P": parts()["P"]}, {"scale": 1.0}), (parts(), {"a": 1, "scale": 1})):
        with pytest.raises(TypeError):
            Factors.from_parts(arrays, numbers, users=3, items=4)


@pytest.fixture
def saved(tmp_path):
    """Save a popularity model of four items and three users; return its folder."""
    from d2l_recsys.chapters.extras.popularity import Popularity

    model = Popularity(np.array([3, 0, 2, 1], dtype=np.float32))
    ids = RatingIds.consecutive(3, 4)
    save_model(tmp_path, TrainedModel("popularity", model, model.numbers, ids))
    return tmp_path


def test_a_closed_form_is_loaded_without_mxnet(saved):
    import subprocess
    import sys

    code = "import sys; from d2l_recsys.saved_models import load_model; "
    code += "print(load_model(sys.argv[1]).net.counts, 'mxnet' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True)
    assert done.stdout == "[3. 0. 2. 1.] False\n", done.stderr


def test_a_saved_closed_form_that_is_not_whole_is_refused(saved):
    path = saved / MODEL
    content, arrays = unpack(path, KIND, VERSION, "")
    assert COMPANIONS["popularity"].model() is type(load_model(saved).net)
    damaged = [
        ({**content, "section": "bias"}, arrays),
        ({**content, "section": "popularities"}, arrays),
        ({**content, "arguments": {"scale": 1}}, arrays),
        ({**content, "arguments": None}, arrays),
        (content, {**arrays, "parameters/counts": np.zeros(5, np.float32)}),
        (content, {**arrays, "parameters/counts": np.zeros(4)}),
        (content, {name: a for name, a in arrays.items() if name != "parameters/counts"}),
        (content, {**arrays, "ids/items": np.arange(5)}),
    ]
    for wrong, parts in damaged:
        path.write_bytes(pack(KIND, VERSION, wrong, parts))
        with pytest.raises(DataError, match="is not a complete model"):
            load_model(saved)

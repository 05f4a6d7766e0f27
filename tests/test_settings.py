import math
import re

import pytest

from d2l_recsys.errors import SettingError
from d2l_recsys.settings import Split, as_choice, check_settings


def test_settings_in_range_pass():
    check_settings(num_epochs=1, lr=0.0, wd=1e-5, seed=0, batch_size=512)
    with pytest.raises(KeyError):
        check_settings(no_such_setting=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_epochs", 0),
        ("batch_size", -1),
        ("num_devices", 0),
        ("num_devices", 100000),
        ("num_factors", 3000000000),
        ("lr", 1e300),
        ("seed", 2**32),
        ("lr", -0.1),
        ("lr", math.nan),
        ("wd", math.inf),
        ("seed", -1),
        ("dropout", 1),
        ("L", 0),
    ],
)
def test_settings_out_of_range_are_named_as_the_user_types_them(name, value):
    with pytest.raises(
        SettingError,
        match=f"^--{name.replace('_', '-')} is {re.escape(str(value))}; it must lie between",
    ):
        check_settings(**{name: value})


def test_each_value_of_a_sequence_is_checked():
    check_settings(nums_hiddens=[10, 1], cutoff=())
    with pytest.raises(SettingError, match=r"^--nums-hiddens is 0; it must lie between 1 and"):
        check_settings(nums_hiddens=(10, 0))


def test_choices_come_from_their_values_or_are_refused():
    assert as_choice(Split, "split", "seq-aware") is Split.seq_aware
    assert as_choice(Split, "split", Split.random) is Split.random
    with pytest.raises(SettingError, match="--split is 'last'; choose one of: seq-aware, random"):
        as_choice(Split, "split", "last")

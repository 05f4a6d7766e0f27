import contextlib
import gc
import subprocess
import sys
import types

import pytest

from d2l_recsys.hardware import slow_imports
from d2l_recsys.hardware.slow_imports import import_later, without_slow_imports


@pytest.fixture
def optional(monkeypatch):
    """Two modules that seem slow: ``colorsys`` is not imported yet, ``json`` is."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.setattr(slow_imports, "OPTIONAL", ("colorsys", "json"))


def test_a_slow_module_seems_missing_unless_it_is_imported_already(optional):
    import json

    with without_slow_imports():
        with pytest.raises(ImportError):
            import colorsys
        assert sys.modules["json"] is json
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)
    assert sys.modules["json"] is json


def test_everything_is_as_before_after_an_error(optional):
    class Finder:
        __module__ = slow_imports.SETUPTOOLS_SHIM

        def find_spec(self, name, path=None, target=None):
            return None

    finders, finder = sys.meta_path[:], Finder()
    sys.meta_path.insert(1, finder)
    try:
        with contextlib.suppress(KeyError), without_slow_imports():
            assert finder not in sys.meta_path
            sys.meta_path.append("found in between")
            raise KeyError
        assert sys.meta_path == [finders[0], finder, *finders[1:], "found in between"]
        assert "colorsys" not in sys.modules
    finally:
        sys.meta_path[:] = finders


@pytest.mark.parametrize("collects", [True, False])
def test_the_garbage_collector_pauses(collects):
    (gc.enable if collects else gc.disable)()
    try:
        with without_slow_imports():
            assert not gc.isenabled()
        assert gc.isenabled() is collects
    finally:
        gc.enable()


def test_a_missing_module_is_imported_when_it_is_needed(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    user = types.SimpleNamespace(colors=None, numbers=[1])
    import_later(user, "colors", "colorsys")
    import_later(user, "numbers", "math")
    assert "colorsys" not in sys.modules
    assert user.colors.rgb_to_hsv(0, 0, 0) == (0, 0, 0)
    assert user.numbers == [1]


SCRIPT = """
import sys
import d2l_recsys.backend as backend
slow = ("sklearn", "scipy.stats", "setuptools", "pkg_resources", "distutils")
print([name for name in slow if name in sys.modules])
print(round(backend.mx.contrib.quantization.stats.entropy([0.5, 0.5]), 6))
import scipy.stats, setuptools, distutils.version
from sklearn.metrics import roc_auc_score
print(backend.mx.test_utils.ss.norm is scipy.stats.norm, roc_auc_score([0, 1], [0, 1]))
"""


def test_mxnet_comes_without_slow_modules_and_they_come_later():
    pytest.importorskip("d2l_recsys.backend")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "0.693147", "True 1.0"], done.stderr
    assert done.stderr == ""

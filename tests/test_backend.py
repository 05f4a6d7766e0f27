import ctypes
import importlib.metadata
import types

import pytest

backend = pytest.importorskip("d2l_recsys.backend")


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """An installed cu112 extra whose libraries are empty files; what would be loaded, in order."""
    for name in backend.CUDA_LIBRARIES[:-1]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(backend.importlib.util, "find_spec", {"nvidia": spec}.get)
    calls = []
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: calls.append((path, mode)))
    return calls


def test_the_cuda_wheel_gets_its_libraries_in_order_and_visible_to_all(
    loaded, tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: name)
    backend.load_cuda_libraries()
    expected = [str(tmp_path / name) for name in backend.CUDA_LIBRARIES[:-1]]
    assert loaded == [(path, ctypes.RTLD_GLOBAL) for path in expected]


def test_the_cpu_wheel_gets_none(loaded, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    backend.load_cuda_libraries()
    assert loaded == []

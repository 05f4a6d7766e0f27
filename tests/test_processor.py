import platform

import pytest

from d2l_recsys.hardware import processor


@pytest.mark.parametrize(
    ("content", "model"),
    [
        ("vendor_id\t: X\nmodel\t\t: 1\nmodel name\t:  Fast  CPU @ 3.00GHz \nmodel name\t: Other\n",
         "Fast CPU @ 3.00GHz"),
        ("model name\t:\nflags\t: fpu\n", "of Python"),
        ("BogoMIPS\t: 50.00\n", "of Python"),
        (None, "of Python"),
    ],
)  # fmt: skip
def test_the_model_comes_from_the_system_or_else_from_python(content, model, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(processor, "CPU_INFO", file)
    monkeypatch.setattr(platform, "processor", lambda: "of Python")
    assert processor.processor_model() == model


def test_an_unknown_model_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert processor.processor_model() is None

"""Packaging: the requirements of the project, and the extras that install MXNet."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "d2l_recsys/__init__.py").read_text())[1]

# Both builds of MXNet 1.9.1, for CPUs and for GPUs, need these packages. d2l 1.0.3 pins versions of
# numpy, pandas and matplotlib that work with MXNet 1.9.1. The pinned matplotlib (3.7.2) cannot draw
# under IPython 9.
WITH_MXNET = ["d2l==1.0.3", "ipython<9"]

setup(
    name="d2l_recsys",
    version=VERSION,
    description="The recommender-systems chapter of Dive into Deep Learning on MXNet Gluon",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.8",
    packages=[
        *find_packages(include=["d2l_recsys", "d2l_recsys.*"]),
        "d2l_recsys.chapters",
        "d2l_recsys.chapters.extras",
        "d2l_recsys.chapters.tutorial",
    ],
    package_dir={"d2l_recsys.chapters": "chapters"},
    package_data={
        "d2l_recsys": ["py.typed"],
        "d2l_recsys.reproduction": ["report.css"],
        "d2l_recsys.runs": ["reported.json"],
        "d2l_recsys.baseline": ["files/*", "files/*/*"],
        "d2l_recsys.leaderboard": ["search.json"],
    },
    entry_points={"console_scripts": ["d2l-recsys = d2l_recsys.__main__:main"]},
    install_requires=[
        "filelock",
        "markdown-it-py",
        "matplotlib",
        "numpy",
        "pandas",
        "pooch",
        "requests",
        "safetensors",
        "scikit-learn",
        "scipy",
        "tabulate",
        "threadpoolctl",
        "tomli; python_version < '3.11'",
        "tqdm",
        "typer",
        "typing_extensions",
    ],
    extras_require={
        "cpu": ["mxnet==1.9.1", *WITH_MXNET],
        # The mxnet-cu112 wheel links these CUDA 11 libraries but does not contain them.
        "cu112": [
            "mxnet-cu112==1.9.1",
            "nvidia-cublas-cu11",
            "nvidia-cuda-nvrtc-cu11",
            "nvidia-cuda-runtime-cu11",
            "nvidia-cudnn-cu11<9",
            "nvidia-cufft-cu11",
            "nvidia-curand-cu11",
            "nvidia-cusolver-cu11",
            "nvidia-cusparse-cu11",
            "nvidia-nccl-cu11",
            "nvidia-nvtx-cu11",
            *WITH_MXNET,
        ],
        "test": [
            "hypothesis",
            "import-linter",
            "ipykernel",
            "nbclient",
            "nbformat",
            "pytest",
            "pytest-xdist",
            "ruff",
        ],
    },
)

"""Four systems compute the same bits as before, so that no change of numbers goes unnoticed.

Floating-point sums depend on the instructions of the processor. On a machine whose arithmetic
differs from that of the machine that made the hashes, the tests are skipped.
"""

import hashlib
import json

import numpy as np
import pytest
from scipy.linalg import lapack

from d2l_recsys.hardware.threads import fixed_num_threads
from d2l_recsys.sections.registry import SYSTEMS

ARITHMETIC = "12814b45c91ebcfa8050e049d5511399520590f345322626d0146a8b24383a59"
# For seed 0 and one epoch: the SHA-256 of model.safetensors and of the numbers in result.json.
HASHES = {
    "mf": (
        "9b2e186a175d5f6358531e39ad487e67372a0417d04f4971a22a8445f6a57904",
        "73bf220d8fd1e77fbac67ccc85728539bdd7e98f0e8ae1c144e79443b430b4a2",
    ),
    "neumf": (
        "c0cc1d1ba24fda64a317505be473f43b1254dd80c38415bef450f931a9b7ffde",
        "b343b3e56387ed66f5732e245b37dbb52c1739b67e2d91ddbd57408f9717eb8d",
    ),
    "caser": (
        "07d01f41927b21c1d82a3935eca6d343baa985892abd1817d764fb6c8a77b13a",
        "3817c5b954adee4fb4d88261fc5810600a4ad62d62abadbe37b14f96bcd4f2e2",
    ),
    "ease": (
        "227e4b518567fb771d10f256d8d71e6e2552c8b782cc73bc0e3314752324e44f",
        "72ef64764c485a3a84457bff2b049bb6c862002f53f73908ac52d867f4c7cc45",
    ),
}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def arithmetic():
    """A hash of sums, products and exponentials that numpy, LAPACK and MXNet compute here."""
    backend = pytest.importorskip("d2l_recsys.backend")
    backend.npx.set_np()
    a = np.random.default_rng(0).normal(size=(61, 67)).astype(np.float32)
    with fixed_num_threads():
        gram = a.T.astype(np.float64) @ a
        inverse, _ = lapack.dpotri(
            lapack.dpotrf(gram + 100 * np.eye(67), lower=True)[0], lower=True
        )
    b = backend.np.array(a)
    dense = backend.npx.fully_connected(b, b, num_hidden=61, no_bias=True)
    parts = [inverse, *(x.asnumpy() for x in (backend.np.dot(b, b.T), dense, backend.np.exp(b)))]
    return sha256(b"".join(part.tobytes() for part in parts))


@pytest.mark.network
@pytest.mark.parametrize("name", HASHES)
def test_weights_and_numbers_are_what_they_were(name, ml100k_dir, tmp_path):
    if arithmetic() != ARITHMETIC:
        pytest.skip(
            "the arithmetic of this machine differs from that of the machine that made the hashes"
        )
    main, trained = SYSTEMS[name].main(), {} if name == "ease" else {"num_epochs": 1}
    main(data_dir=ml100k_dir, out=tmp_path, quiet=True, **trained)
    result = json.loads((tmp_path / "result.json").read_text())
    numbers = json.dumps([result["printed"], result["defined"]], sort_keys=True).encode()
    found = sha256((tmp_path / "model.safetensors").read_bytes()), sha256(numbers)
    assert found == HASHES[name]

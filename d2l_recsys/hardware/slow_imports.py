"""Import MXNet without modules that take long to import and that MXNet can do without."""

import contextlib
import gc
import importlib
import sys
import types
from typing import Any, Iterator

# MXNet imports these modules if they are installed. Without scikit-learn, one class that this
# project does not use, ``mxnet.model.FeedForward``, has another base class. ``import_later`` gives
# scipy.stats back to MXNet.
OPTIONAL = ("sklearn", "scipy.stats")
# The package that lets setuptools take the place of distutils.
SETUPTOOLS_SHIM = "_distutils_hack"


@contextlib.contextmanager
def without_slow_imports() -> Iterator[None]:
    """In this block, an import of MXNet takes about half the time.

    Modules in ``OPTIONAL`` seem not to be installed, unless they are already imported. The module
    distutils comes from the standard library and not from setuptools, which takes longer. The
    garbage collector pauses: an import creates many objects and hardly any garbage.

    After the block, every later import finds the same modules as without this block.
    """
    hidden = [name for name in OPTIONAL if name not in sys.modules]
    shims = [(i, f) for i, f in enumerate(sys.meta_path) if type(f).__module__ == SETUPTOOLS_SHIM]
    before, collects = set(sys.modules), gc.isenabled()
    sys.modules.update(dict.fromkeys(hidden))
    for _, finder in shims:
        sys.meta_path.remove(finder)
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        for place, finder in shims:
            sys.meta_path.insert(place, finder)
        of_distutils = {n for n in sys.modules if n.partition(".")[0] == "distutils"}
        for name in {*hidden, *of_distutils - before}:
            del sys.modules[name]


def import_later(module: types.ModuleType, attribute: str, name: str) -> None:
    """If ``module.attribute`` is None, let it stand for the module ``name``.

    The module ``name`` is imported when one of its attributes is needed for the first time.
    """
    if getattr(module, attribute) is None:
        setattr(module, attribute, _ImportedLater(name))


class _ImportedLater(types.ModuleType):
    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self.__name__), attribute)

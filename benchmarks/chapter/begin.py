"""What the chapter's sections have in common here: where the data is, and what is timed.

Each script beside this one is a section as the book has it, with d2l 1.0.3's functions wherever it
has them. Arguments: the folder of ``u.data`` (of ``train.csv`` and ``test.csv`` for clicks), and
``draw`` or ``quiet`` for the live figure. The last line printed is JSON: the seconds of each phase
of the whole run, which of them are scaled up from a part of it, and how many seconds of them were
really spent.
"""

import functools
import json
import sys
import time

import matplotlib

matplotlib.use("Agg")
from d2l import mxnet as d2l
from mxnet import npx

npx.set_np()
d2l.download_extract = lambda name: sys.argv[1]
if sys.argv[2] == "quiet":
    d2l.Animator.add = lambda self, x, y: None
clock = time.perf_counter


class Phases:
    """Seconds of the phases of a run."""

    def __init__(self):
        self.spent, self.factor = {}, {}

    def add(self, name, seconds, factor=1):
        """``factor`` scales a part up to the whole."""
        self.spent[name] = self.spent.get(name, 0) + seconds
        self.factor[name] = factor

    def timed(self, name, function, factor=1):
        """``function``, its time counted."""

        @functools.wraps(function)
        def call(*args):
            started = clock()
            try:
                return function(*args)
            finally:
                self.add(name, clock() - started, factor)

        return call

    def print(self):
        """The last line."""
        report = {
            "seconds": {name: self.spent[name] * self.factor[name] for name in self.spent},
            "scaled": [name for name, factor in self.factor.items() if factor != 1],
            "spent": sum(self.spent.values()),
        }
        print(json.dumps(report))


class OutOfUsersError(Exception):
    """Enough of the evaluation has been timed."""


class FirstUsers(dict):
    """Candidates that end the chapter's loop over users at user ``stop``."""

    def __init__(self, candidates, stop):
        super().__init__(candidates)
        self.stop = stop

    def __getitem__(self, user):
        if user >= self.stop:
            raise OutOfUsersError
        return super().__getitem__(user)

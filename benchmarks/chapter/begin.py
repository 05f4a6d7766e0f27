"""Code that the timed sections of the chapter share: arguments, timers, and the report.

Each section is a script in this folder, written as in the book. It uses the functions of d2l 1.0.3
if d2l has them. The first argument is the folder of ``u.data``, or of ``train.csv`` and
``test.csv`` for clicks. The second argument is ``draw`` or ``quiet``: whether to draw the chapter's
live figure. The last line of the output is a JSON object:

- ``seconds``: the seconds of each phase, scaled up to the whole run if only a part was timed
- ``scaled``: the names of the phases that are scaled up
- ``spent``: the seconds that the timed phases really took, all together
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
    """The seconds that a run spends in each of its phases."""

    def __init__(self):
        self.spent, self.factor = {}, {}

    def add(self, name, seconds, factor=1):
        """Add seconds to a phase; ``factor`` scales the time of a part up to the whole run."""
        self.spent[name] = self.spent.get(name, 0) + seconds
        self.factor[name] = factor

    def timed(self, name, function, factor=1):
        """``function`` with a timer: each call adds its seconds to the phase ``name``."""

        @functools.wraps(function)
        def call(*args):
            started = clock()
            try:
                return function(*args)
            finally:
                self.add(name, clock() - started, factor)

        return call

    def print(self):
        """Print the JSON object of the measurements."""
        report = {
            "seconds": {name: self.spent[name] * self.factor[name] for name in self.spent},
            "scaled": [name for name, factor in self.factor.items() if factor != 1],
            "spent": sum(self.spent.values()),
        }
        print(json.dumps(report))


class OutOfUsersError(Exception):
    """Ends an evaluation of which enough users have been timed."""


class FirstUsers(dict):
    """Candidates that raise OutOfUsersError at user ``stop``.

    This ends the chapter's loop over all users.
    """

    def __init__(self, candidates, stop):
        super().__init__(candidates)
        self.stop = stop

    def __getitem__(self, user):
        if user >= self.stop:
            raise OutOfUsersError
        return super().__getitem__(user)

"""Show the progress of training: a bar on a terminal, the chapter's live figure in a notebook."""

import sys
from typing import Dict, Optional, Tuple

from tqdm import tqdm


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


class EpochDisplay:
    """Context manager that shows the numbers of each epoch when the epoch ends.

    A notebook shows d2l's ``Animator`` with the chapter's axes. A terminal shows a tqdm bar on
    standard error. Elsewhere, or if ``quiet`` is True, nothing is shown.
    """

    def __init__(
        self, num_epochs: int, legend: Tuple[str, ...], ylim: Tuple[float, float], quiet: bool
    ) -> None:
        self.legend = legend
        self.animator = None
        self.bar: Optional[tqdm] = None
        if quiet:
            return
        if in_notebook():
            from d2l import mxnet as d2l

            self.animator = d2l.Animator(
                xlabel="epoch", xlim=[1, num_epochs], ylim=list(ylim), legend=list(legend)
            )
        else:
            # disable=None shows no bar if standard error is not a terminal.
            self.bar = tqdm(
                total=num_epochs, unit="epoch", leave=False, disable=None, mininterval=0
            )

    def __enter__(self) -> "EpochDisplay":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def add(self, epoch: int, values: Tuple[float, ...]) -> None:
        """Show the ``values`` of ``epoch`` (from 1), in the order of the legend."""
        if self.animator is not None:
            self.animator.add(epoch, values)
        if self.bar is not None:
            postfix: Dict[str, str] = {n: f"{v:.3f}" for n, v in zip(self.legend, values)}
            self.bar.set_postfix(postfix, refresh=False)
            self.bar.update()

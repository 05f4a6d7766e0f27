"""The recommender-systems chapter of "Dive into Deep Learning" on MXNet Gluon.

Most numbers come twice: ``printed`` is what the chapter's code computes, and ``defined`` is what
its equations and text say. Importing the package loads none of its modules. The data (``data``,
``ctr``), the batches (``loaders``) and the metrics (``ranking``) need no MXNet, only the packages
that every installation has, such as numpy, pandas and scipy. Training a net needs MXNet 1.9.1,
which the extras ``cpu`` and ``cu112`` install.
"""

__version__ = "0.1.0"

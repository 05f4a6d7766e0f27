"""What the sections of the recommender-systems chapter share.

Every number comes twice: ``printed`` is what the chapter's code computes, ``defined`` is what its
equations and text say. Importing this package loads nothing; the data layer (``data``,
``batches``) and the metrics need numpy and pandas alone; training needs MXNet 1.9.1, which the
extras ``cpu`` and ``cu112`` bring.
"""

__version__ = "0.1.0"

"""Measures the effect of each erratum, with one module for each part of ``ERRATA.md``."""

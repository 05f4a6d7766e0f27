"""How large the effect of each erratum is: a module for each part of ``ERRATA.md``."""

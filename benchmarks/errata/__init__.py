"""Measures the effect of each erratum: modules for ratings, ranking, clicks and the rest."""

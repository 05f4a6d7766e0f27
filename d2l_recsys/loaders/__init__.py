"""Batches from numpy arrays, and sparse matrices. Needs numpy and scipy, but not MXNet."""

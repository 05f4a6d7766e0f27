"""Find, fetch, check and read the data sets. Needs no MXNet.

``movielens`` reads ratings, ``click_sets`` and ``click_files`` read clicks. docs/developing.md
shows how to add a data set.
"""

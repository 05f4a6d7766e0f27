"""What data there is: fetched, found, checked and read; no MXNet.

Ratings are read in ``movielens``, clicks in ``click_sets``; docs/developing.md adds one.
"""

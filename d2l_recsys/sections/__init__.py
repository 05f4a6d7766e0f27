"""The sections that can be run, their options, and their command line."""

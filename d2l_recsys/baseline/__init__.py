"""The regression baseline: is a port of the chapter right, and if not, where is it first wrong."""

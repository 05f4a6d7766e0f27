"""Check whether a port of the chapter is right, and if not, where it is first wrong."""

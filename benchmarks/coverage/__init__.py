"""Makes ``docs/coverage.md``: each part of the chapter, and the command here that does the same."""

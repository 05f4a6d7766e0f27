"""The same system with several settings, over several seeds: runs, table, figure, files."""

"""The commands: ``d2l-recsys X`` is the module X."""

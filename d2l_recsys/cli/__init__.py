"""The commands: the module X has ``d2l-recsys X`` (``reproduce`` also has ``report``)."""

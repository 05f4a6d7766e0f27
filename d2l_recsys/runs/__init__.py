"""One run of a section: from its options to its result, its figure and its model on disk."""

"""The systems beside the chapter: a file each, run as those of the chapter are."""

"""The companions of the chapter: one file for each system, run like the chapter's sections."""

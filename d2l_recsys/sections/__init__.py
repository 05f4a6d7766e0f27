"""What can be run, with which options, and how it is started from the command line."""

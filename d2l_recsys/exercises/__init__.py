"""The chapter's exercises: the runs that answer each of them, and the answers."""

"""The chapter over seeds: its runs, their summary, the report."""

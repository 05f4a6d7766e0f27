"""The leaderboard: every system under one protocol, with its training time and uncertainty."""

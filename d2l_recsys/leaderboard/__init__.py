"""The leaderboard: every system on one protocol, what it took, and how sure the order is."""

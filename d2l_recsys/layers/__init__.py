"""The pieces that nets of several sections are made of."""

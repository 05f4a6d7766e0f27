"""Layers and functions that the nets of several sections share."""

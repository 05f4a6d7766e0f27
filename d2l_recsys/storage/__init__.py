"""Bytes on disk: files written whole or not at all, and archives of arrays."""

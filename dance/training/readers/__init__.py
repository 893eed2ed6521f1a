"""Readers of what single-picture generators learn from, one file for each kind of folder; see `training.album`."""

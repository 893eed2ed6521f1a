"""Measures and reports: how good a result is, and how that was found."""

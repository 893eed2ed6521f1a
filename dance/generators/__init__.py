"""Generators of the dancing person, one file each; the folder is the registry."""

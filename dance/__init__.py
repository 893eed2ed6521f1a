"""Video pose transfer: a dance video and a picture of a person in, that person dancing it out."""

__version__ = "0.1.0"

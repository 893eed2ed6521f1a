"""Poses: estimated, followed, smoothed and retargeted."""

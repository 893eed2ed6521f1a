"""Normal equations of a chain of pictures: each is tied to itself, to the next and to the one after that.

T pictures with D unknowns each. Least squares of residuals that are linear in the unknowns' small changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

from dance.types import Array


@dataclass(frozen=True, slots=True)
class Normal:
    """own: (T, D, D).  next: (T - 1, D, D), rows of a picture, columns of the next.  after: (T - 2, D), the
    diagonals of what ties a picture to the one after the next.  pull: (T, D), minus half the gradient.
    """

    own: Array
    next: Array
    after: Array
    pull: Array

    @classmethod
    def empty(cls, frames: int, unknowns: int) -> Normal:
        return cls(
            np.zeros((frames, unknowns, unknowns)),
            np.zeros((max(frames - 1, 0), unknowns, unknowns)),
            np.zeros((max(frames - 2, 0), unknowns)),
            np.zeros((frames, unknowns)),
        )

    def add(self, jacobian: Array, residual: Array) -> None:
        """Residuals (T, N) of single pictures with their jacobian (T, N, D), both weighted already."""
        turned = jacobian.transpose(0, 2, 1)
        self.own[:] += turned @ jacobian
        self.pull[:] -= (turned @ residual[..., None])[..., 0]

    def add_diagonal(self, columns: Array | slice, weight: Array, residual: Array) -> None:
        """Residuals (T, N) of single unknowns with their weights (T, N)."""
        index = np.arange(self.own.shape[1])[columns]
        self.own[:, index, index] += weight
        self.pull[:, index] -= weight * residual

    def add_steps(self, first: Array, second: Array, residual: Array) -> None:
        """Residuals (T - 1, N) of a picture and the next, jacobians (T - 1, N, D) by the one and the other."""
        one, two = first.transpose(0, 2, 1), second.transpose(0, 2, 1)
        self.own[:-1] += one @ first
        self.own[1:] += two @ second
        self.next[:] += one @ second
        self.pull[:-1] -= (one @ residual[..., None])[..., 0]
        self.pull[1:] -= (two @ residual[..., None])[..., 0]

    def add_bends(self, weight: Array, residual: Array) -> None:
        """Residuals (T - 2, D) with weights of how unknowns bend: one picture minus twice the next plus the last."""
        if not len(weight):
            return
        index = np.arange(self.own.shape[1])
        for k, factor in enumerate((1.0, -2.0, 1.0)):
            rows = slice(k, k + len(weight))
            self.own[rows, index[:, None], index[:, None]] += (factor**2 * weight)[..., None]
            self.pull[rows] -= factor * weight * residual
        for rows in (slice(0, len(weight)), slice(1, len(weight) + 1)):
            self.next[rows, index, index] += -2.0 * weight
        self.after[:] += weight

    def solve(self, damping: Array) -> Array:
        """The change (T, D) of all unknowns; `damping` (D,) holds each back."""
        frames, unknowns = self.pull.shape
        bands = self._bands()
        bands[0] += np.tile(damping, frames)
        solved = solveh_banded(bands, self.pull.ravel(), lower=True, check_finite=False)
        return np.asarray(solved.reshape(frames, unknowns))

    def _bands(self) -> Array:
        """The lower bands of the whole matrix, (widest + 1, T * D)."""
        frames, d = self.pull.shape
        widest = d - 1 if frames == 1 else 2 * d - 1 if frames == 2 else 2 * d
        bands = np.zeros((widest + 1, frames, d))
        column = np.arange(d)
        for k in range(d):
            bands[k, :, : d - k] = self.own[:, column[k:], column[: d - k]]
        if frames > 1:
            # Below the diagonal stands the transpose: rows of the next picture, columns of this.
            lower = self.next.transpose(0, 2, 1)
            for row in range(d):
                bands[d + row - column, :-1, column] = lower[:, row].T
        if frames > 2:
            bands[2 * d, :-2] += self.after
        return bands.reshape(widest + 1, frames * d)

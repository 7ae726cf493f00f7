"""The Fréchet distance between Gaussians fitted to features. Source: Heusel et al. 2017, eq. 6."""

import numpy as np


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Return the distance of two sets of features: (N, d) and (M, d), of float64."""
    means, covariances = zip(*((f.mean(0), np.cov(f, rowvar=False)) for f in (a, b)), strict=True)
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    square = float(np.square(means[0] - means[1]).sum())
    return square + float(np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared)

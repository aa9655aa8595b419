"""Student's t interval of a mean."""

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def t_halfwidth(values: NDArray[np.float64]) -> float:
    """Return half the width of the 95 % t interval of the mean of `values`, of which there are two at least."""
    from scipy.special import stdtrit  # here, because every worker imports this module

    return float(stdtrit(values.size - 1, (1 + CONFIDENCE) / 2) * values.std(ddof=1) / np.sqrt(values.size))

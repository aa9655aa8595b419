"""Student's t interval of a mean."""

import numpy as np
import pytest

from qexp.bench.student import t_halfwidth


def test_the_interval_is_students() -> None:
    # mean 2, standard error 1 / √3, t(0.975, 2) = 4.302653
    assert t_halfwidth(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.3026527 / 3**0.5)
    assert t_halfwidth(np.array([5.0, 5.0])) == 0

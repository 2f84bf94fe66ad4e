import numpy as np
from scipy import sparse

from retrieval.pairs.bayesian.expansion import _usual


def test_facts_say_what_who_rated_what_would_have_said() -> None:
    # The fact decides nothing by itself, but who has it rates something else.
    rng = np.random.default_rng(0)
    fact = rng.integers(0, 2, 2000)
    rated = 3.0 * fact[:, None] + rng.standard_normal((2000, 1))
    features = sparse.csr_array(np.column_stack([np.ones(2000), fact, rated]))
    coefficients = np.array([[5.0, 5.0], [0.0, 0.0], [1.0, -2.0]])
    of_facts = _usual(features, 2, coefficients, np.arange(2000) < 1000)
    np.testing.assert_allclose(of_facts.coefficients, [[0, 0], [3, -6]], atol=0.3)
    expected = np.outer(coefficients[2], coefficients[2])  # what was rated varies by 1
    np.testing.assert_allclose(of_facts.covariance, expected, atol=0.3)

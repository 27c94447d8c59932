"""For what cannot be tested while beartype is active: it refuses wrong types first, and uses random numbers.

Such tests are run once more in a process without it (tests/monitor/test_without_type_checks.py).
"""

import sys

import pytest
from jaxtyping import TypeCheckError

from cloudchamber import InvalidInput

TYPES_ARE_CHECKED = "beartype" in sys.modules


def refused(words):
    """Expect InvalidInput with these words, or, while types are checked, the checker's own error."""
    if TYPES_ARE_CHECKED:
        return pytest.raises((InvalidInput, TypeCheckError))
    return pytest.raises(InvalidInput, match=words)

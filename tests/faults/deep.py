"""How far the fuzz targets and the sampled cases go: with `HYPOTHESIS_PROFILE=deep` in full, as `make deep` does."""

import os

from hypothesis import HealthCheck, settings

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


def examples(fast: int, deep: int) -> settings:
    """So many examples; the machine is shared, so none has a time of its own."""
    return settings(
        max_examples=deep if DEEP else fast,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )

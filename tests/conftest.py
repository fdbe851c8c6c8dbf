"""For all tests: how hard the property tests try.

`HYPOTHESIS_PROFILE=deep` looks much longer, for an evening; `PYTEST_TIMEOUT=3600` beside it lets each test take its time.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("fast", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", settings.get_profile("fast"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

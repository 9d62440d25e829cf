"""For every test: no proxy, Ctrl-C works in what tests start, and no property is held to a wall-clock time."""

import os
import signal

from hypothesis import HealthCheck, settings

for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):  # what a test asks is on this machine
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

# A shell without job control starts what it puts into the background with SIGINT ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# steady: the same examples every time, so that what is red here is red for the next person; wide: looks for new ones.
settings.register_profile("wide", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("wide"), derandomize=True)
settings.load_profile("steady")

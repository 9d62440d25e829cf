"""For every test: no proxy, a terminal of 80 columns, Ctrl-C, and no property that is held to a wall-clock time."""

import os
import signal

from hypothesis import HealthCheck, settings

for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):  # what a test asks is on this machine
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

os.environ["COLUMNS"] = "80"  # what is shown does not depend on who looks
for name in ("FORCE_COLOR", "NO_COLOR", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)

# A shell without job control starts what it puts into the background with SIGINT ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# steady: the same examples every time, so that what is red here is red for the next person; wide: looks for new ones.
settings.register_profile("wide", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("wide"), derandomize=True)
settings.load_profile("steady")

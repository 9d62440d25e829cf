"""How many connections a process may have, seen from processes that may open few files."""

import subprocess
import sys

import pytest

SAID = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from promptmill.generate.open_files import connections
print(connections(int(sys.argv[3])), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "least", "most"),
    [
        (512, 512, 64, 64, 64),
        (100, 100, 64, 30, 52),  # 48 for all else, and what is open already
        (24, 24, 64, 1, 1),
        (64, 512, 300, 300, 300),  # the limit is raised
        (64, 256, 300, 180, 208),  # as far as it may be
    ],
)
def test_a_process_takes_as_many_connections_as_its_files_allow(soft, hard, wanted, least, most):
    command = [sys.executable, "-c", SAID, str(soft), str(hard), str(wanted)]
    said = subprocess.run(command, capture_output=True, check=True, text=True, timeout=120)
    can, limit = map(int, said.stdout.split())
    assert least <= can <= most
    assert soft <= limit <= hard

"""What the first run of a process meets: two threads that import diffusers at once."""

from __future__ import annotations

import subprocess
import sys

TWO_THREADS = """
import sys, threading
from pipelines.samplers.fast_schedulers import build_fast

def first():
    import diffusers

thread = threading.Thread(target=first)
thread.start()
while "diffusers" not in sys.modules:
    pass
made = build_fast("DDIMScheduler", {"num_train_timesteps": 1000}, {}, 4, {})
thread.join()
print(type(made).__name__, len(made.timesteps))
"""


def test_a_scheduler_is_made_while_another_thread_imports_diffusers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["DDIMScheduler", "4"], done.stderr

"""Hub access: lets huggingface_hub ask the network inside a block, and only there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def online() -> Iterator[None]:
    """Allow huggingface_hub to ask the network inside the block, and nowhere else."""
    os.environ["HF_HUB_OFFLINE"] = "0"
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        os.environ["HF_HUB_OFFLINE"] = "1"

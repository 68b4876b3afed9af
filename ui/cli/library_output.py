"""Library output: keeps other libraries' warnings, hints and progress bars off the terminal."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from pipelines.devices.library_probes import keep_unused_out

VERBOSE = "--verbose"
_HANDLER = "contact-sheet"
OWN = ("pipelines", "presets", "ui", "bench", "__main__")
"""Packages whose log lines are this program's own."""
_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Torch has a handler of its own; so written, it and all that stands below it says errors only.
    "TORCH_LOGS": "-all",
    # Of TensorFlow Lite, which says what it computes with.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OPENCV_LOG_LEVEL": "ERROR",
}


def take_verbose(arguments: list[str]) -> tuple[bool, list[str]]:
    """Take `--verbose` out of a command line, where it may stand anywhere before a `--`.

    Returns: whether it was there, and the rest.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [one for one in arguments[:end] if one != VERBOSE]
    return len(options) < end, [*options, *arguments[end:]]


def start_process(verbose: bool) -> None:
    """Set this process up, before any large library is imported.

    What no run needs is not imported, and other libraries are silent below errors.
    Args:
        verbose: let them say what they like.
    """
    keep_unused_out()
    handler = logging.StreamHandler()
    handler.set_name(_HANDLER)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    if verbose:
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    handler.addFilter(own_or_error)
    if not sys.warnoptions:  # python -W
        warnings.simplefilter("ignore")


def log_with_times() -> None:
    """Write this program's own steps too, each with its time, as a service does."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for noisy in ("httpx", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for handler in root.handlers:
        if handler.name == _HANDLER:
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))


def own_or_error(record: logging.LogRecord) -> bool:
    """Tell whether a log line is shown: it is this program's, or it is an error."""
    return record.levelno >= logging.ERROR or record.name.split(".")[0] in OWN

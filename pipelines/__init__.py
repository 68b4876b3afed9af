"""Everything that runs: requests, samplers, the engine, the manager, the studio.

    from pipelines import Studio, Request, Sheet

Importing this touches no device, no network and no model; torch loads with the first run.
"""

from pipelines.controls import Control
from pipelines.errors import (
    Cancelled,
    ContactSheetError,
    InvalidRequest,
    ModelUnavailable,
    OutOfMemory,
    UnknownName,
)
from pipelines.loras import LoRA
from pipelines.studio import Studio
from pipelines.types import Axis, Request, Sheet

__all__ = [
    "Axis",
    "Cancelled",
    "ContactSheetError",
    "Control",
    "InvalidRequest",
    "LoRA",
    "ModelUnavailable",
    "OutOfMemory",
    "Request",
    "Sheet",
    "Studio",
    "UnknownName",
]

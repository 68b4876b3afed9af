"""Everything that runs: requests, samplers, the engine, the manager, the studio.

    from pipelines import Studio, Request, Sheet

Importing this touches no device, no network and no model; torch loads with the first run.
"""

from pipelines.errors import (
    Busy,
    Cancelled,
    ContactSheetError,
    InvalidRequest,
    ModelUnavailable,
    OutOfMemory,
    StorageUnavailable,
    UnknownName,
)
from pipelines.request.control import Control
from pipelines.request.lora import LoRA
from pipelines.request.request import Request
from pipelines.request.sheet import Axis, Sheet
from pipelines.studio import Studio

__all__ = [
    "Axis",
    "Busy",
    "Cancelled",
    "ContactSheetError",
    "Control",
    "InvalidRequest",
    "LoRA",
    "ModelUnavailable",
    "OutOfMemory",
    "Request",
    "Sheet",
    "StorageUnavailable",
    "Studio",
    "UnknownName",
]

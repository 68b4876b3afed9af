"""Uploads: opens pictures that clients send."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from PIL import Image

from pipelines import InvalidRequest
from pipelines.utils.images import open_picture


def opened(file: Any) -> Image.Image:
    """Open the picture of an uploaded file; no other file of this machine is looked at.

    Raises: InvalidRequest: if it is no such file, or no picture.
    """
    path = file.get("path") if isinstance(file, Mapping) else None
    if not isinstance(path, str):
        raise InvalidRequest(
            f"image is {str(file)[:40]!r}; send a file (gradio_client.handle_file)"
        )
    if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise InvalidRequest("image is no file that was uploaded; send it with handle_file")
    try:
        return open_picture(Path(path).read_bytes())
    except OSError:
        raise InvalidRequest("image is no longer here; upload it again") from None

"""JSON body: checks size, depth and files of one before anything is built from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pipelines import InvalidRequest

DEPTH_MAX = 64
PARTS_MAX = 400_000
"""Texts, brackets and commas of a body: small values take fifty times their text in memory."""
NOT_UPLOADED = "not_uploaded"
"""Key of what stands in the place of a file that a client named but never sent."""
_FILE_TYPE = "gradio.FileData"
# Possessive, and a text without an end is one too: or the search would begin anew at each quote.
_PART = re.compile(rb'[\[\]{},]|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)


def checked_json(body: bytes, is_upload: Callable[[str], bool]) -> bytes:
    """Return a body with no file in it but uploaded ones; as it came, where it had no others.

    Raises: InvalidRequest: if it is no JSON in UTF-8, nested too deep or of too many parts.
    """
    _check_shape(body)
    try:
        value = json.loads(body.decode())
    except ValueError as error:
        # Of a text that is not JSON the parser says where, of others (numbers) what is wrong.
        raise InvalidRequest(f"the body is no JSON: {str(error)[:100]}") from None
    own = own_files(value, is_upload)
    return body if own == value else json.dumps(own).encode()


def own_files(value: Any, is_upload: Callable[[str], bool]) -> Any:
    """Replace whatever Gradio could take for a file, but was not uploaded, at any depth.

    Of a file that was uploaded only what describes it is left: Gradio reads a `url` of it too.
    """
    if isinstance(value, list):
        return [own_files(item, is_upload) for item in value]
    if not isinstance(value, dict):
        return value
    if not _names_file(value):
        return {key: own_files(item, is_upload) for key, item in value.items()}
    path = value.get("path")
    if not isinstance(path, str) or not is_upload(path):
        return {NOT_UPLOADED: True}
    name = value.get("orig_name")
    described = {
        key: value[key] for key, kind in (("size", int), ("mime_type", str))
        if isinstance(value.get(key), kind)
    }  # fmt: skip
    if isinstance(name, str):
        described["orig_name"] = re.split(r"[/\\]", name)[-1]
    return {"path": path, "meta": {"_type": _FILE_TYPE}, **described}


def _names_file(value: dict[str, Any]) -> bool:
    if value.get("path") is not None or isinstance(value.get("url"), str):
        return True
    meta = value.get("meta")
    return isinstance(meta, dict) and meta.get("_type") == _FILE_TYPE


def _check_shape(body: bytes) -> None:
    """Check depth and number of parts in the text: what they guard against is parsing it."""
    depth = 0
    for parts, part in enumerate(_PART.finditer(body), 1):
        sign = body[part.start()]
        depth += (sign in b"[{") - (sign in b"]}")
        if depth > DEPTH_MAX:
            raise InvalidRequest(f"the body is nested deeper than {DEPTH_MAX} levels")
        if parts > PARTS_MAX:
            raise InvalidRequest(f"the body has more than {PARTS_MAX:,} values")

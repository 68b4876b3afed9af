"""Root path: the folder of a site below which a proxy serves this server."""

from __future__ import annotations

import re
from collections.abc import Callable

from pipelines import InvalidRequest
from ui.guard.refusal import quoted

# What no browser or proxy writes in another way; a segment of dots would be walked.
_SEGMENTS = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)*")


def read_root_path(text: str, name: str = "--root-path") -> str:
    """Read a root path: "" for the root of a site, else such as `/sheet`.

    A slash at the end, and a missing one in front, mean the same path.
    Raises: InvalidRequest: if it is none.
    """
    path = text.removesuffix("/")
    path = path if not path or path.startswith("/") else f"/{path}"
    if _SEGMENTS.fullmatch(path):
        return path
    advice = "; a name goes to --allow-host" if "://" in text else ""
    raise InvalidRequest(
        f"{name} is {quoted(text)}; give the path alone, such as /sheet, of letters, digits and "
        f"-._~{advice}"
    )


def address_below(root_path: str, path: str, is_route: Callable[[str], bool]) -> str:
    """Return the address below the root path; "" where it is the root path without its slash.

    Some proxies take the root path off before they ask, others leave it. What begins with it is
    below it only where the rest is an address here: so a root path may be named like a route.
    """
    rest = path.removeprefix(root_path)
    if root_path and path.startswith(root_path):
        if not rest and not is_route(path):
            return ""
        below = "/" + rest.lstrip("/")
        if rest.startswith("/") and (below == "/" or is_route(below)):
            return below
    return path

"""Address check: serves those of Gradio's routes that the page and programs need.

Gradio brings more: routes that fetch web addresses, record, rewrite the page or watch it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from ui.guard.refusal import refuse

API = "/gradio_api/"
_SERVED = re.compile(
    r"(?:info|openapi\.json|app_id|user|token|login_check|startup-events|theme\.css|cancel|reset"
    r"|upload|upload_progress|queue/(?:join|data|status)|component_server"
    r"|heartbeat/[^/]+|(?:run|api)/[^/]+|call/(?:v2/)?[^/]+(?:/[^/]+)?)/?"
)
_FILE = re.compile(r"file[=/](.*)", re.DOTALL)
_UNUSED = ("/monitoring", "/pwa_icon", "/custom_component", "/runs")


class AddressCheck:
    """Address check: refuses routes that nobody needs, and files that nobody was given.

    Args:
        hands_out: whether a file may be read by its path.
    """

    def __init__(self, app: ASGIApp, hands_out: Callable[[str], bool]) -> None:
        self.app = app
        self.hands_out = hands_out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.serves(scope["path"]):
            await self.app(scope, receive, send)
        else:
            await refuse(scope, receive, send, 403, "not served here")

    def serves(self, path: str) -> bool:
        """Tell whether there is anything for a client at a path."""
        if not path.startswith(API):
            return not path.startswith(_UNUSED)
        rest = path.removeprefix(API)
        file = _FILE.fullmatch(rest)
        return self.hands_out(file[1]) if file else _SERVED.fullmatch(rest) is not None

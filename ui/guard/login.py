"""Login check: answers only who has logged in, on every route, where a login is set.

Gradio asks for one on some of its routes; ours, and the rest of Gradio's, are here.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines import InvalidRequest
from ui.guard.refusal import refuse

VARIABLE = "CONTACT_SHEET_AUTH"
"""Environment variable of the login: unlike an option, other users of the machine do not see it."""
_OPEN = frozenset(
    (
        *("/", "/login", "/login/", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"),
        *("/gradio_api/login_check", "/gradio_api/app_id", "/gradio_api/theme.css"),
    )
)
"""What the login form itself is made of; Gradio puts no more than the form at "/"."""
_OPEN_BELOW = ("/assets/", "/static/", "/svelte/")

LoggedIn = Callable[[HttpRequest], bool]


class LoginCheck:
    """Login check: refuses whoever has not logged in all but the login form."""

    def __init__(self, app: ASGIApp, logged_in: LoggedIn) -> None:
        self.app = app
        self.logged_in = logged_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        is_open = path in _OPEN or path.startswith(_OPEN_BELOW)
        if is_open or self.logged_in(HttpRequest(scope)):
            await self.app(scope, receive, send)
        else:
            await refuse(scope, receive, send, 401, "log in first")


def read_login(text: str) -> tuple[str, str]:
    """Read `USER:PASSWORD`. Raises: InvalidRequest: if either is missing."""
    user, colon, password = text.partition(":")
    if not (user.strip() and colon and password):
        # What came is not repeated: it may be the password.
        raise InvalidRequest(f"the login must be USER:PASSWORD (--auth, or {VARIABLE})")
    return user.strip(), password

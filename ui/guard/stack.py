"""Guard stack: puts all checks in front of the page, in the order in which they are cheap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from ui.guard.addresses import AddressCheck
from ui.guard.bodies import BodyCheck
from ui.guard.forwarded import Proxies
from ui.guard.headers import SecurityHeaders
from ui.guard.hosts import HostCheck, HostNames
from ui.guard.login import LoggedIn, LoginCheck
from ui.guard.login_pace import LoginPace
from ui.guard.origins import OriginCheck
from ui.guard.public_address import BelowRoot, PublicAddress
from ui.uploads import is_below, is_upload


class Guard:
    """Guard: the checks of every request, in front of an app.

    Args:
        names: that the server has.
        proxies: whose forwarded headers are believed.
        root_path: below which a proxy serves the page.
        is_route: whether there is anything at an address.
        pictures: folder of finished pictures, which may be read by path; None if there is none.
        logged_in: None where no login is asked for.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: HostNames,
        pictures: Path | None,
        logged_in: LoggedIn | None,
        *,
        proxies: Proxies,
        root_path: str,
        is_route: Callable[[str], bool],
    ) -> None:
        def hands_out(path: str) -> bool:
            return is_upload(path) or (pictures is not None and is_below(pictures, path))

        self.app = app
        checked: ASGIApp = AddressCheck(BodyCheck(BelowRoot(app), is_upload), hands_out)
        if logged_in is not None:
            checked = LoginCheck(LoginPace(checked), logged_in)
        checked = PublicAddress(OriginCheck(checked, names), proxies, root_path, is_route)
        self.checked = SecurityHeaders(HostCheck(checked, names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Only starting and ending (`lifespan`) is no request; websockets are not spoken.
        await (self.checked if scope["type"] == "http" else self.app)(scope, receive, send)

"""Login pace: slows whoever guesses passwords, by client and for all together."""

from __future__ import annotations

import time
from collections import OrderedDict, deque

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.guard.refusal import refuse

SECONDS = 60.0
PER_CLIENT = 10
"""Wrong logins of one client within SECONDS."""
PER_SERVER = 100
"""Those of all clients together: whoever guesses may come from many addresses."""
_CLIENTS_MAX = 1000


class LoginPace:
    """Login pace: refuses logins for a while after many wrong ones; who is logged in stays so."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.all: deque[float] = deque()
        self.by_client: OrderedDict[str, deque[float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST" or scope["path"].rstrip("/") != "/login":
            await self.app(scope, receive, send)
            return
        client = str((scope.get("client") or ("",))[0])
        own = self.by_client.get(client, deque())
        if _recent(own) >= PER_CLIENT or _recent(self.all) >= PER_SERVER:
            await refuse(scope, receive, send, 429, "too many wrong logins; wait a minute")
            return

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self._add(client)
            await send(message)

        await self.app(scope, receive, note)

    def _add(self, client: str) -> None:
        now = time.monotonic()
        self.all.append(now)
        self.by_client.setdefault(client, deque()).append(now)
        self.by_client.move_to_end(client)
        while len(self.by_client) > _CLIENTS_MAX:
            self.by_client.popitem(last=False)


def _recent(times: deque[float]) -> int:
    while times and times[0] < time.monotonic() - SECONDS:
        times.popleft()
    return len(times)

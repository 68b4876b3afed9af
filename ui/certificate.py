"""Certificate: files with which the page is served encrypted (TLS)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import InvalidRequest

VARIABLE = "CONTACT_SHEET_SSL_KEYFILE_PASSWORD"
"""Environment variable of the key's password: unlike an option, other users do not see it."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Certificate: its chain, its key, and the key's password where it has one.

    Attributes:
        keyfile: None where the key stands in the certificate's file.
    """

    certfile: Path
    keyfile: Path | None = None
    password: str | None = None

    def options(self) -> dict[str, Any]:
        """Return it as uvicorn takes it."""
        return {
            "ssl_certfile": self.certfile,
            "ssl_keyfile": self.keyfile,
            "ssl_keyfile_password": self.password,
        }

    def check(self) -> None:
        """Read the files once. Raises: InvalidRequest: if they are not there or do not fit."""
        for option, file in (("--ssl-certfile", self.certfile), ("--ssl-keyfile", self.keyfile)):
            try:
                if file is not None:
                    file.read_bytes()
            except OSError as error:
                raise InvalidRequest(f"{option} is {str(file)!r}: {error.strerror}") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        is_locked = False

        def password() -> str:
            nonlocal is_locked
            is_locked = True
            return self.password or ""

        try:
            # Without a function that answers, OpenSSL would ask at the terminal.
            context.load_cert_chain(self.certfile, self.keyfile, password)
        except (OSError, ValueError) as error:
            reason = "the key's password is wrong or missing" if is_locked else _reason(error)
            raise InvalidRequest(
                f"--ssl-certfile {self.certfile}: {reason}; both files must be PEM, the "
                f"key in --ssl-keyfile, its password in {VARIABLE}"
            ) from None


def read_certificate(
    certfile: Path | None, keyfile: Path | None, password: str | None
) -> Certificate | None:
    """Read the options; None where no certificate is given.

    Raises: InvalidRequest: if there is a key without a certificate.
    """
    if certfile is not None:
        return Certificate(certfile, keyfile, password)
    if keyfile is not None:
        raise InvalidRequest("--ssl-keyfile needs the certificate: --ssl-certfile FILE")
    return None


def _reason(error: Exception) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key is another certificate's"
    return "no certificate with its key could be read from it"

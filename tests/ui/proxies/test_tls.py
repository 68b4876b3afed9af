"""Encryption by the server's own certificate: the page, programs, and files that do not fit."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from playwright.sync_api import Browser

from pipelines import InvalidRequest, Studio
from tests.ui.page_server import start
from tests.ui.proxies.servers import Certificates
from tests.ui.proxies.visit import ask, visit
from ui.certificate import Certificate, read_certificate
from ui.server import make_server


def test_the_page_is_whole_with_a_certificate_of_its_own(
    studio: Studio,
    browser: Browser,
    certificates: Certificates,
    verify: ssl.SSLContext,
    picture: Path,
) -> None:
    certificate = Certificate(certificates.chain, certificates.key)
    site, stop = start(studio, host="::1", certificate=certificate)
    try:
        assert site.url.startswith("https://[::1]:")
        visit(browser, f"{site.url}/", picture)
        ask(site.url, picture, verify)
    finally:
        stop()


def test_a_key_may_stand_in_the_same_file_and_have_a_password(
    certificates: Certificates, tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificates.key.read_bytes() + certificates.chain.read_bytes())
    Certificate(both).check()
    locked = tmp_path / "locked.key"
    key = load_pem_private_key(certificates.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
        )
    )
    Certificate(certificates.chain, locked, "open sesame").check()
    for password in (None, "wrong"):
        with pytest.raises(InvalidRequest, match="password is wrong or missing"):
            Certificate(certificates.chain, locked, password).check()


def test_files_that_do_not_fit_are_refused_before_anything_is_served(
    studio: Studio, certificates: Certificates, tmp_path: Path
) -> None:
    other = Certificates.made_in(tmp_path)
    nothing = tmp_path / "empty.pem"
    nothing.write_text("")
    for chain, key, said in (
        (certificates.chain, other.key, "the key is another certificate's"),
        (certificates.chain, nothing, "could be read"),
        (nothing, certificates.key, "could be read"),
        (certificates.chain, tmp_path / "none.key", "--ssl-keyfile is .*No such file"),
        (tmp_path, certificates.key, "--ssl-certfile is .*directory"),
        (certificates.chain, None, "could be read"),
    ):
        with pytest.raises(InvalidRequest, match=said):
            make_server(studio, port=0, certificate=Certificate(chain, key))
    with pytest.raises(InvalidRequest, match="--ssl-keyfile needs the certificate"):
        read_certificate(None, certificates.key, None)

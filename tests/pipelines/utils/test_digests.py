"""Digests of files follow what is in them."""

from __future__ import annotations

import hashlib
import os

from pipelines.utils.digests import digest_of_file, digest_of_files


def test_digests_follow_content_and_names(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"aaaa")
    two.write_bytes(b"aaaa")
    assert digest_of_file(one) == digest_of_file(two)
    assert digest_of_files([one]) != digest_of_files([two]), "names count"
    assert digest_of_files([one, two]) == digest_of_files([two, one]), "order does not"
    before = digest_of_files([one, two])
    two.write_bytes(b"aaab")
    os.utime(two, ns=(1, 1))
    assert digest_of_files([one, two]) != before
    assert digest_of_file(one) == hashlib.sha256(b"aaaa").hexdigest()

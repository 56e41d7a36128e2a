"""Whom TLS connections trust. Kept: reading the certificates takes longer than a request."""

import functools
import os
import ssl

import httpx


@functools.cache
def trusted_certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def trusted_file() -> str | bool:
    """The same for a library that wants a file; True: those that it brings along."""
    return os.environ.get("SSL_CERT_FILE") or True

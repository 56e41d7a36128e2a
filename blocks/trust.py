"""Whom TLS connections trust. Kept: reading the certificates takes longer than a request."""

import functools
import ssl

import httpx


@functools.cache
def trusted_certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()

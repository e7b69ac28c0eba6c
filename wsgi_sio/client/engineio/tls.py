"""The TLS settings: what ``verify``, ``cert`` and ``ssl_context`` ask for."""

from __future__ import annotations

import ssl

from ..options import ClientOptions


def make_context(options: ClientOptions) -> ssl.SSLContext:
    """The context that ``ssl_context``, or ``verify`` and ``cert``, ask for.

    :raises OSError: a file of theirs cannot be read, or is no certificate.
    """
    if options.ssl_context is not None:
        return options.ssl_context
    context = ssl.create_default_context(cafile=options.verify if isinstance(options.verify, str) else None)
    context.set_alpn_protocols(["http/1.1"])
    if options.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if isinstance(options.cert, str):
        context.load_cert_chain(options.cert)
    elif options.cert is not None:
        context.load_cert_chain(*options.cert)
    return context

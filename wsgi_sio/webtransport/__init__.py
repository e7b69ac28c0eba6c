"""WebTransport without sessions: QUIC and HTTP/3 on the reactor, and Engine.IO's framing of a stream.

One QUIC connection carries one WebTransport session with one stream, and that is one Engine.IO connection. Nothing here
is imported unless it is asked for.
"""

"""RFC 6455 without I/O: `frames.py` builds and reads single frames, `messages.py` turns a stream of bytes into
messages.
"""

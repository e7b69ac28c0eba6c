"""The plugin's fixtures, whether or not the package is installed with its entry point."""

from wsgi_sio.testing.plugin import sio_client, sio_live_server

__all__ = ["sio_client", "sio_live_server"]

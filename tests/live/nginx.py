"""A real nginx in front of a server, whose connections its clients share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.balancers import program
from tests.live.kept import Line
from tests.live.peers import eventually
from tests.support.servers import free_port

NGINX = """
pid {folder}/pid; error_log {folder}/error.log; daemon off; worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    upstream app {{ server 127.0.0.1:{port}; keepalive 64; keepalive_timeout 20s; }}
    server {{
        listen 127.0.0.1:{listen};
        location / {{
            proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, port: int) -> Iterator[int]:
    """Run it until the block ends; the port on which it listens.

    :param port: the server's.
    """
    listen = free_port()
    path = folder / "nginx.conf"
    path.write_text(NGINX.format(folder=folder, port=port, listen=listen))
    process = subprocess.Popen([program("nginx"), "-e", str(folder / "error.log"), "-c", str(path)])
    try:
        eventually(lambda: _listens(listen), bool)
        yield listen
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    try:
        Line(port).close()
    except ConnectionRefusedError:
        return False
    return True

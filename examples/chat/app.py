"""The chat of ``python -m wsgi_sio`` behind a production server; its code is ``wsgi_sio/demo/chat.py``.

From this directory, one of::

    gunicorn --worker-class gthread --threads 16 --bind 127.0.0.1:8000 app:app
    gunicorn --worker-class gevent --bind 127.0.0.1:8000 app:app

One worker: the rooms live in its memory.
"""

from wsgi_sio.client_files import find_client, install_client
from wsgi_sio.demo.chat import create_app

app = create_app(find_client() or install_client())

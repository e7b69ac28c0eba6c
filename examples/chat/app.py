"""A chat with rooms, images and delivery ticks; its code is ``wsgi_sio/demo/chat.py``, the demonstration's.

``python app.py``, then http://127.0.0.1:8000 in two windows. Behind a production server, with one worker because the
rooms are in its memory::

    gunicorn --worker-class gevent app:app
    gunicorn --threads 16 app:app
"""

import os

from wsgi_sio.client_files import find_client, install_client
from wsgi_sio.demo.chat import create_app

app = create_app(find_client() or install_client())

if __name__ == "__main__":
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(os.environ.get("PORT", "8000")), app, threaded=True)

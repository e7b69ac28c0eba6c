"""A Flask application with Socket.IO in front, for ``flask run``: ``--app tests.apps.flask_site``."""

from __future__ import annotations

from flask import Flask

from tests.apps.robustness import wrap

app = Flask(__name__)
app.wsgi_app = wrap(app.wsgi_app)  # type: ignore[method-assign]


@app.get("/")
def index() -> str:
    return "hello from Flask"

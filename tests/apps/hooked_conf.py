"""gunicorn with a hook for requests, which is to see all of them; for ``tests/live/test_kept_polls.py``."""


def post_request(worker, req, environ, resp):  # type: ignore[no-untyped-def]
    worker.log.debug("a request is over")

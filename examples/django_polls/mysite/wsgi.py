"""What ``manage.py runserver`` and every WSGI server load; the import is the only change for Socket.IO.

With one worker, because who follows which question is in its memory::

    gunicorn --worker-class gevent mysite.wsgi
    gunicorn --threads 16 mysite.wsgi
"""

import os

from wsgi_sio.django import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

application = get_wsgi_application()

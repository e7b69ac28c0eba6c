"""A Django project in one file with Socket.IO in front: ``python -m tests.apps.django_site runserver --noreload``."""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.apps.robustness import wrap

if not settings.configured:
    settings.configure(
        DEBUG=True,
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="tests.apps.django_site",
        WSGI_APPLICATION="tests.apps.django_site.application",
        DATABASES={},
        USE_TZ=True,
    )


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello from Django")


urlpatterns = [path("", index)]
application = wrap(get_wsgi_application())

if __name__ == "__main__":
    execute_from_command_line(sys.argv)

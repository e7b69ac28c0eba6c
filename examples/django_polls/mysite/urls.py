"""The project's pages."""

from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("polls.urls")),
    *staticfiles_urlpatterns(),  # while DEBUG is on, behind any server
]

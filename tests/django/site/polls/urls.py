"""Pages of the app."""

from django.urls import path

from polls import views

urlpatterns = [
    path("", views.index, name="results"),
    path("login/", views.log_in),
    path("logout/", views.log_out),
    path("close/", views.close_poll),
]

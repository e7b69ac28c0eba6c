"""Pages: the results, logging in and out, and one that tells all clients something."""

from __future__ import annotations

from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from polls.models import results
from wsgi_sio.django import io


@ensure_csrf_cookie
def index(request: HttpRequest) -> HttpResponse:
    return JsonResponse(results())


@require_POST
def log_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
    if user is None:
        return HttpResponse("wrong name or password", status=403)
    login(request, user)
    return HttpResponse("welcome")


@require_POST
def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("bye")


def close_poll(request: HttpRequest) -> HttpResponse:
    io.emit("closed", results())
    return HttpResponse("closed")

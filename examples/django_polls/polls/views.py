"""Pages: the questions, and one question, to vote on as always: by a form. Only the results come over Socket.IO."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from polls.models import Question
from wsgi_sio.django import io


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "polls/index.html", {"questions": Question.objects.order_by("pk")})


def detail(request: HttpRequest, pk: int) -> HttpResponse:
    question = get_object_or_404(Question, pk=pk)
    mine = request.session.get("votes", {}).get(str(pk))
    return render(request, "polls/detail.html", {"question": question, "results": question.results(), "mine": mine})


@require_POST
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Count a vote, the first of each session, and send the new results to everybody who looks at the question."""
    question = get_object_or_404(Question, pk=pk)
    votes = request.session.get("votes", {})
    choice = request.POST.get("choice", "")
    first = str(pk) not in votes and choice.isdecimal()
    if first and question.choices.filter(pk=choice).update(votes=F("votes") + 1):
        request.session["votes"] = {**votes, str(pk): int(choice)}
        # After the commit, so that nobody is told of a vote that does not count in the end.
        transaction.on_commit(lambda: io.to(question.room).emit("results", question.results()))
    return redirect("polls:detail", pk=pk)

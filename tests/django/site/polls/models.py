"""A poll is a choice between a few answers."""

from __future__ import annotations

from django.db import models


class Choice(models.Model):
    """One answer and how many have given it."""

    text = models.CharField(max_length=200, unique=True)
    votes = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.text


def results() -> dict[str, int]:
    """The votes by choice."""
    return dict(Choice.objects.order_by("text").values_list("text", "votes"))

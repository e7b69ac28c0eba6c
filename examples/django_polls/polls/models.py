"""Questions, and the choices there are to answer them."""

from __future__ import annotations

from typing import Any

from django.db import models


class Question(models.Model):
    """Something to vote on."""

    text = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.text

    @property
    def room(self) -> str:
        """The room of those who follow the results; a prefix, because every socket's id is the name of a room too."""
        return f"question {self.pk}"

    def results(self) -> list[dict[str, Any]]:
        """The choices with their votes, as the page gets them."""
        return list(self.choices.order_by("pk").values("id", "text", "votes"))


class Choice(models.Model):
    """One answer, and how many have given it."""

    question = models.ForeignKey(Question, related_name="choices", on_delete=models.CASCADE)
    text = models.CharField(max_length=200)
    votes = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.text

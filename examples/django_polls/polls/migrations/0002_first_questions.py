"""Something to vote on from the start."""

from django.db import migrations

QUESTIONS = {
    "Where shall we go for lunch?": ["The noodle bar", "The bakery by the river", "Sandwiches in the park"],
    "Tabs or spaces?": ["Tabs", "Spaces", "Whatever the formatter says"],
}


def add_questions(apps, schema_editor):
    question_model = apps.get_model("polls", "Question")
    for text, choices in QUESTIONS.items():
        question = question_model.objects.create(text=text)
        for choice in choices:
            question.choices.create(text=choice)


class Migration(migrations.Migration):
    dependencies = [("polls", "0001_initial")]
    operations = [migrations.RunPython(add_questions, migrations.RunPython.noop)]

"""Formats on a bus: how others write the messages of a cluster; pure translation, and a small adapter class each."""

"""The processes that are one server."""

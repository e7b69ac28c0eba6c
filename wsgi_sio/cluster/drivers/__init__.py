"""Formats on a bus: how others write the messages of a cluster; pure translation, and a small adapter class each.

``node_*`` are those of Node's adapters, ``flask_socketio_*`` those of Flask-SocketIO's and python-socketio's processes.
"""

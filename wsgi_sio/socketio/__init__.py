"""Socket.IO: namespaces, sockets, rooms, events and acknowledgements, on top of engine sessions."""

"""Redis streams, as Node's adapter has them: a stream of events that all servers read, and keys with sessions."""

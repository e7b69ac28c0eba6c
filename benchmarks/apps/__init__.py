"""The servers that are measured; all define the same three events."""

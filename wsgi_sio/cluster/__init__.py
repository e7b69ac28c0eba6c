"""Several processes that are one server to their clients: adapters that pass broadcasts and questions between them."""

"""What drainkit did, combination by combination, when each was recorded: see `record`.

`asgi` and `wsgi` enumerate the combinations and serve them, `table` keeps and compares what
happened, and ``asgi.json`` and ``wsgi.json`` hold it.
"""

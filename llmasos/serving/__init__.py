"""Serving: a model that answers many people at once, over HTTP.

    browser, curl, openai, `client`  →  `server`  →  `app`, `routes`  →  `engine`  →  the model

Read `engine` first: one thread owns the model and decodes all requests together (the batch is in
`generation/continuous_batching.py`, `requests` is what each of them waits for). Then `app`, the way of a request through its doors, with `schema` (what a body
may hold), `routes` (one small file for each thing to ask) and `refusals` (what goes wrong, as a sentence). `server` is
the embedded web server, `client` the other side of the wire, `service` both in one object, and `page` what is at `/`.
"""

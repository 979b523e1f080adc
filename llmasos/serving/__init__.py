"""Serving: a model that answers many people at once, over HTTP."""

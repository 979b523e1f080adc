"""HTTP: the server, the WSGI application, the client."""

"""Shared by the server and its command: default limits, loopback hosts, and the variable with the API key."""

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
API_KEY_VARIABLE = "LLMASOS_API_KEY"
MAX_TOKENS = 4096  # the longest text that a request may ask for
MAX_BODY = 1_000_000  # the most bytes of a request's body

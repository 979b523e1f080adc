"""What the server and its command share: the limits by default, its hosts, and where it looks for a key."""

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
API_KEY_VARIABLE = "LLMASOS_API_KEY"
MAX_TOKENS = 4096  # of a text
MAX_BODY = 1_000_000  # bytes of a request

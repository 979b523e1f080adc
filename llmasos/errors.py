"""The one exception whose message is meant for the user.

Where a user can do something wrong (a file that does not exist, a flag out of range, a damaged checkpoint) the code
raises `UserError` with one sentence: what was wrong (with the value), what was expected, and what to do. The commands
print that sentence and exit with status 2. Any other exception is a bug in this library and keeps its traceback.
"""


class UserError(ValueError):
    """A problem that the user can fix. The message says what was wrong, what was expected, and what to do."""

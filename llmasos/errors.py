"""The one exception that is meant for a person.

Where a user can do something wrong (a file that is not there, a flag out of range, a damaged checkpoint) the code
raises `UserError` with one sentence: what was wrong (with the value), what was expected, and what to do. The commands
print that sentence and exit with status 2. Any other exception is a bug of ours and keeps its traceback.
"""


class UserError(ValueError):
    """Something the user can mend. The message says what was wrong, what was expected, and what to do."""

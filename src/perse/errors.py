"""The one family of errors that a user can cause.

Everything a user can do wrong (a photo without a face, an unknown attribute, a folder that holds something else)
raises :class:`PerseError` with a message that says what was wrong, with which file or argument, and what to do.
The command line turns it into exit status 2; anything else is a defect of ours and keeps its traceback.
"""


class PerseError(Exception):
    """Something the user can fix. The message is complete and needs no traceback."""

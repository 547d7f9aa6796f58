"""Keep start-up chatter of native libraries off the user's terminal."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

_NOISE = (b"W0000 ", b"I0000 ", b"INFO: Created TensorFlow Lite", b"WARNING: All log messages before absl")


@contextlib.contextmanager
def quiet_native_start() -> Iterator[None]:
    """Hold back what native code writes to stderr; afterwards write all of it that is not known chatter.

    MediaPipe and LiteRT log their delegates through file descriptor 2 and heed no environment variable. Errors
    still come through, and everything does when an exception passes.
    """
    try:
        original = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    failed = True
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            failed = False
        finally:
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held.read(1 << 20).splitlines(keepends=True):
                if failed or not line.startswith(_NOISE):
                    os.write(2, line)

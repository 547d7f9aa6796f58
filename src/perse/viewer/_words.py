"""A line of plain text in the live viewer's page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import viser

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&!])")
"""What means something to the page's Markdown, in which a picture may even name a file of this computer."""


class Words:
    """Plain text for the user. What comes from files and other programs is shown as it is, never as markup."""

    def __init__(self, gui: viser.GuiApi, text: str) -> None:
        self._handle = gui.add_markdown("")
        self.say(text)

    @property
    def text(self) -> str:
        """What is said at the moment."""
        return self._text

    def say(self, text: str) -> None:
        """Say something else."""
        self._text = " ".join(text.split())
        self._handle.content = _MARKUP.sub(r"\\\1", self._text)

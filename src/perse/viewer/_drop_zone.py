"""A place of the live viewer's page that takes a dropped file, and hands it to an upload button beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import viser

ZONE = """<div data-drop style="margin: 0 0.6em 0.5em; padding: 0.7em; border: 1.5px dashed #9aa0aa; border-radius: 4px;
 text-align: center; font-size: 0.85em; color: #6b7079"
 ondragover="event.preventDefault(); this.style.background = '#e7f1fd'" ondragleave="this.style.background = ''"
 ondrop="event.preventDefault(); this.style.background = '';
 const field = document.querySelector('input[type=file][accept=&quot;MIME&quot;]');
 if (!field || !event.dataTransfer.files.length) return;
 field.files = event.dataTransfer.files; field.dispatchEvent(new Event('change', { bubbles: true }));">WORDS</div>"""
"""viser's own components take no drops, and scripts in HTML that is put in do not run; what its elements do on events
does. The upload button's hidden field is found by the kind of file it takes: there must be one such button."""


def add_drop_zone(gui: viser.GuiApi, mime_type: str, words: str) -> None:
    """Add one for the page's upload button of that type. `words` are ours, not the user's: they are shown as HTML."""
    gui.add_html(ZONE.replace("MIME", mime_type).replace("WORDS", words))

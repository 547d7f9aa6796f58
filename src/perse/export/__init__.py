"""An avatar in other programs: a web page, 3DGS files, the neighbours' layouts, glTF."""

from perse.export.page import write_page

__all__ = ["write_page"]

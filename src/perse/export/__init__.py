"""An avatar in other programs: a web page, 3DGS files, the neighbours' layouts, glTF."""

from perse.export._page_options import PageOptions
from perse.export.bound import BoundGaussians, bind, read_bound, triangle_frames, write_bound
from perse.export.glb import write_glb
from perse.export.images import write_images
from perse.export.page import write_page
from perse.export.splats import write_converted, write_ply, write_ply_sequence

__all__ = [
    "BoundGaussians",
    "PageOptions",
    "bind",
    "read_bound",
    "triangle_frames",
    "write_bound",
    "write_converted",
    "write_glb",
    "write_images",
    "write_page",
    "write_ply",
    "write_ply_sequence",
]

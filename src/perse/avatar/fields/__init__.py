"""Fields: what turns codes into canonical points. `basis` (layers of points) and `mlp` (the paper's networks)."""

from perse.avatar.fields._between import Between
from perse.avatar.fields._points import Moved
from perse.avatar.fields.base import Field, FieldConfig, Layout, make_field
from perse.avatar.fields.basis import BasisField
from perse.avatar.fields.mlp import MlpField

__all__ = ["BasisField", "Between", "Field", "FieldConfig", "Layout", "MlpField", "Moved", "make_field"]

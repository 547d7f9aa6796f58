"""What a page is made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Quality = Literal["small", "normal", "fine"]


@dataclass(frozen=True)
class PageOptions:
    """What a page shows, and how finely."""

    title: str = "Avatar"
    """The heading."""
    wearing: Mapping[str, str | None] = field(default_factory=dict)
    """What the page opens with, as in `Avatar.look`."""
    quality: Quality = "normal"
    """How finely numbers are rounded; decides the size."""
    points: int | None = None
    """At most so many Gaussians, those whose loss would change pictures most; all by default."""
    pose_detail: bool = True
    """Include MLP_pose, the change of colour and shape with pose."""
    thumbnails: bool = True
    """Small pictures of every look."""

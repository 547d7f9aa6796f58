"""Networks that look at images: landmarks, segmentation, identity, perceptual distance, image and text features.

All weights come from :mod:`perse.assets`. Nothing here knows of the head, of cameras or of the dataset.
"""

from perse.perception.crops import Square
from perse.perception.features import FeatureEncoder, ImageFeatures, TextFeatures
from perse.perception.identity import IdentityNet, identity_embedding, identity_net
from perse.perception.landmarks import ARKIT_NAMES, Face, LandmarkTracker, as_rgb8, landmarks
from perse.perception.lpips import LPIPS
from perse.perception.segmentation import SEGMENT_CLASSES, hidden_share, segment

Encoder = FeatureEncoder  # the name by which the maker registry knows it

__all__ = [
    "ARKIT_NAMES",
    "LPIPS",
    "SEGMENT_CLASSES",
    "Encoder",
    "Face",
    "FeatureEncoder",
    "IdentityNet",
    "ImageFeatures",
    "LandmarkTracker",
    "Square",
    "TextFeatures",
    "as_rgb8",
    "hidden_share",
    "identity_embedding",
    "identity_net",
    "landmarks",
    "segment",
]

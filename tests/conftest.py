"""What all tests share: one hypothesis profile, and GPU tests that skip with a reason where there is no GPU."""

from __future__ import annotations

import pytest
from hypothesis import settings

# The same examples on every run, and no deadline: test machines are slow and busy at random.
settings.register_profile("perse", deadline=None, derandomize=True)
settings.load_profile("perse")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_tests:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))

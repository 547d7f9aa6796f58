"""What all tests share: one hypothesis profile, and GPU tests that skip with a reason where there is no GPU."""

from __future__ import annotations

from typing import Any

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


class SplatBackend:
    """One of the backends of perse.splat; takes and gives CPU tensors, wherever it draws."""

    def __init__(self, name: str, device: str = "cpu") -> None:
        self.name = name
        self.device = device

    def _moved(self, gaussians: Any, view: Any, *others: Any) -> tuple:
        tensors = [other if other is None else other.to(self.device) for other in others]
        return gaussians.to(self.device), view.to(self.device), *tensors

    def rasterize(self, gaussians: Any, view: Any, *others: Any) -> tuple:
        """(image, alpha)."""
        from perse.splat import rasterize

        image, alpha = rasterize(*self._moved(gaussians, view, *others), backend=self.name)
        return image.cpu(), alpha.cpu()

    def render(self, gaussians: Any, view: Any, *others: Any, labels: Any = None, **asked: Any) -> Any:
        """A Rendering whose tensors lie where the backend draws."""
        from perse.splat import render

        labels = None if labels is None else labels.to(self.device)
        return render(*self._moved(gaussians, view, *others), labels=labels, backend=self.name, **asked)


@pytest.fixture(
    params=["native", "torch", "gsplat's interface", pytest.param("gsplat", marks=pytest.mark.gpu)]
)
def splat_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SplatBackend:
    """Every backend; gsplat itself only where there is a GPU, a stand-in of its functions everywhere."""
    if request.param == "gsplat":
        pytest.importorskip("gsplat", reason="backend gsplat needs gsplat")
        return SplatBackend("gsplat", "cuda")
    if request.param == "gsplat's interface":
        from gsplat_stand_in import STAND_IN
        from perse.splat import _draw, _gsplat

        monkeypatch.setattr(_gsplat, "_import_gsplat", lambda: STAND_IN)
        monkeypatch.setattr(_draw, "choose_backend", lambda backend, device: backend)
        return SplatBackend("gsplat")
    return SplatBackend(request.param)

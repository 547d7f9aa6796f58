"""How far apart are two sets of pictures? Frechet and kernel distances between sets of features (Tables 2, 3).

With Inception features these are FID and KID. Inception's weights are in no package, so here the features are those
of EfficientNet-lite0, and the figures are named after them: they can be compared with one another, not with FID.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from perse.errors import PerseError
from perse.perception import ImageFeatures

AT_ONCE = 16


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance of two normal distributions fitted to features [N, D] and [M, D] (Heusel et al. 2017).

    ``|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``, in float64. It grows as sets shrink, the more so below D
    pictures: compare only sets of equal sizes.

    Raises:
        PerseError: fewer than two rows, or rows of different lengths.
    """
    a, b = _checked(a, b)
    mean_a, mean_b = a.mean(0), b.mean(0)
    # With C = R^T R, tr (C_a C_b)^(1/2) is the sum of singular values of R_a R_b^T: no root of a matrix is needed.
    root_a, root_b = (_root(rows - mean) for rows, mean in ((a, mean_a), (b, mean_b)))
    cross = torch.linalg.svdvals(root_a @ root_b.T).sum()
    spread = root_a.square().sum() + root_b.square().sum() - 2 * cross
    return float((mean_a - mean_b).square().sum() + spread.clamp_min(0))


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Squared maximum mean discrepancy of features [N, D], [M, D], kernel (x.y / D + 1)^3 (Binkowski et al. 2018).

    The unbiased estimate over all pairs: it does not depend on the sizes on average, and may come out below zero.

    Raises:
        PerseError: fewer than two rows, or rows of different lengths.
    """
    a, b = _checked(a, b)
    within = [_mean_of_others(_kernel(x, x)) for x in (a, b)]
    return float(sum(within) - 2 * _kernel(a, b).mean())


class PictureFeatures:
    """EfficientNet-lite0 features [N, 1280] of pictures; the network is read once."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._network = ImageFeatures().to(device)
        self._device = torch.device(device)

    @torch.no_grad()
    def __call__(self, pictures: Iterable[Tensor]) -> Tensor:
        """Of pictures [H, W, 3] in [0, 1], a few at a time (of one size: whole batches)."""
        found: list[Tensor] = []
        batch: list[Tensor] = []
        for picture in pictures:
            if batch and (len(batch) == AT_ONCE or picture.shape != batch[0].shape):
                found.append(self._of(batch))
                batch = []
            batch.append(picture)
        if batch:
            found.append(self._of(batch))
        return torch.cat(found) if found else torch.zeros(0, 1280)

    def _of(self, batch: list[Tensor]) -> Tensor:
        return self._network(torch.stack(batch).movedim(-1, 1).to(self._device)).cpu()


def _root(centred: Tensor) -> Tensor:
    """R [<= D, D] with R^T R the covariance of centred rows [N, D]."""
    return torch.linalg.qr(centred / (len(centred) - 1) ** 0.5, mode="r").R


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_of_others(kernel: Tensor) -> Tensor:
    """Mean of a square matrix without its diagonal."""
    count = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise PerseError(
            f"two sets of features need two or more rows of one length, not {list(a.shape)} and {list(b.shape)}"
        )
    return a.double(), b.double()

import torch

class RenderState: ...

def instruction_sets() -> list[str]: ...
def uses_own_threads() -> bool: ...
def use_own_threads(always: bool) -> None: ...
def forward(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    channels: torch.Tensor,
    viewmat: torch.Tensor,
    K: torch.Tensor,
    background: torch.Tensor,
    image: torch.Tensor,
    alpha: torch.Tensor,
    threads: int,
    isa: str,
) -> RenderState: ...
def backward(
    state: RenderState,
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    channels: torch.Tensor,
    viewmat: torch.Tensor,
    K: torch.Tensor,
    background: torch.Tensor,
    image: torch.Tensor,
    alpha: torch.Tensor,
    grad_image: torch.Tensor,
    grad_alpha: torch.Tensor,
    grad_means: torch.Tensor,
    grad_quats: torch.Tensor,
    grad_scales: torch.Tensor,
    grad_opacities: torch.Tensor,
    grad_channels: torch.Tensor,
    grad_camera: torch.Tensor,
    camera_wanted: bool,
) -> None: ...

"""Solutions of notebook 05."""

import torch
import torch.nn.functional as F


def convolution_costs(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    # A kernel of the full convolution is as deep as the map; a depthwise one has depth 1.
    # Looking around (K²·C) and mixing channels (C·O) run one after the other: their weights add up.
    # Every weight is used once per output pixel, and padding K // 2 makes ⌈H / stride⌉ rows of them.
    (H, W), K = size, kernel_size
    pixels = -(-H // stride) * -(-W // stride)
    full = K * K * in_channels * out_channels
    separable = K * K * in_channels + in_channels * out_channels
    return full, full * pixels, separable, separable * pixels


def depthwise_convolution(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    # What cell (u, v) sees at all positions is one slice of the padded map, a shifted copy.
    # In every channel this copy is multiplied by one number, the channel's own: view(-1, 1, 1).
    # Nothing sums over channels, so no channel ever hears of another.
    (H, W), K = x.shape[2:], weight.shape[-1]
    p, oH, oW = K // 2, -(-H // stride), -(-W // stride)
    x = F.pad(x, (p, p, p, p))  # [B, C, H + 2p, W + 2p]
    y = x.new_zeros(x.shape[0], x.shape[1], oH, oW)
    for u in range(K):
        for v in range(K):
            rows = slice(u, u + stride * (oH - 1) + 1, stride)
            seen = x[:, :, rows, v : v + stride * (oW - 1) + 1 : stride]  # [B, C, oH, oW]
            y = y + seen * weight[:, 0, u, v].view(-1, 1, 1)
    return y


def inverted_residual(
    x: torch.Tensor, expand: torch.Tensor, depthwise: torch.Tensor, project: torch.Tensor, stride: int
) -> torch.Tensor:
    # Expand, so that the activation has room to cut without losing what the narrow map knows.
    # The depthwise convolution alone looks around; only here a stride makes sense.
    # Project without an activation: in few channels it would cut away what is needed.
    # The rule asks for stride and widths, not for shapes: a 1 × 1 map keeps its shape under stride 2.
    y = F.silu(F.conv2d(x, expand))  # [B, hidden, H, W]
    y = F.silu(F.conv2d(y, depthwise, stride=stride, padding=1, groups=len(depthwise)))
    y = F.conv2d(y, project)  # [B, O, H/stride, W/stride]
    return x + y if stride == 1 and x.shape[1] == y.shape[1] else y


def receptive_field(layers: list[tuple[int, int, int]]) -> int:
    # j: how many pixels of the picture lie between two neighbours on the map a layer reads.
    # A window's first and last pixel lie d·(K − 1) such steps apart; that is what the layer adds.
    # Its own stride spreads only what comes after it, so j changes last.
    r, j = 1, 1
    for kernel, stride, dilation in layers:
        r += dilation * (kernel - 1) * j
        j *= stride
    return r


def seen_by(network: torch.nn.Module, image: torch.Tensor, row: int, column: int) -> torch.Tensor:
    # A pixel is seen if its gradient is not 0; gradients belong to one number, so the O outputs are mixed.
    # Mixed with random weights they cannot cancel; the generator keeps other random numbers in order.
    # autograd.grad leaves the network's weights alone, and the clone leaves the image alone.
    x = image.clone().requires_grad_()
    y = network(x)[0, :, row, column]  # [O]
    mixture = y * torch.randn(len(y), generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(mixture.sum(), x)
    return (gradient[0] != 0).any(0)  # [C, H, W] -> [H, W]

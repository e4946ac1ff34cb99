"""Two marks, same or different: the smallest task for which a network must compare far-apart pixels.

A picture of grey noise holds two marks of 2 × 2 pixels, each red or blue. The label is 1 if their
colours are equal, 0 if not. One mark alone says nothing about the label.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_lib import MobileViTBlock
from mvit_lib.layers import ConvNormAct, InvertedResidual, init_weights

MARK = 2  # side of a mark in pixels
COLOURS = torch.tensor([[1.0, 0.3, 0.1], [0.1, 0.4, 1.0]])


def mark_positions(size: tuple[int, int]) -> Tensor:
    """Every way to place two marks apart from each other on a map of `size` = (H, W).

    Shape: int64 [M, 4], each row (y, x) of the upper left pixel of the first mark and of the second;
    the first comes earlier in reading order. Filter it to make the task easier or harder.
    """
    rows, columns = (torch.arange(side - MARK + 1) for side in size)
    places = torch.cartesian_prod(rows, columns, rows, columns)  # [M, 4]
    y1, x1, y2, x2 = places.unbind(dim=1)
    apart = ((y2 - y1).abs() >= MARK) | ((x2 - x1).abs() >= MARK)
    return places[apart & ((y2 > y1) | (y2 == y1) & (x2 > x1))]


def two_marks(
    count: int, size: tuple[int, int], positions: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw `count` pictures with marks at places drawn from `positions`.

    Shape: positions [M, 4] as from `mark_positions` -> images [count, 3, H, W] in [0, 1], labels [count].
    Raises: ValueError if there is no position, or a mark would leave the picture.
    """
    if not len(positions):
        raise ValueError("positions is empty: no way to place the marks is left")
    corners = positions.view(-1, 2)
    if (corners < 0).any() or (corners > torch.tensor(size) - MARK).any():
        raise ValueError(f"positions reach outside a picture of {size}: marks are {MARK} pixels wide")
    images = 0.5 + 0.1 * torch.randn(count, 3, *size, generator=generator)
    places = positions[torch.randint(len(positions), (count,), generator=generator)]  # [count, 4]
    kinds = torch.randint(2, (count, 2), generator=generator)
    picture = torch.arange(count)
    for mark in range(2):
        y, x = places[:, 2 * mark], places[:, 2 * mark + 1]
        for i in range(MARK):
            for j in range(MARK):
                images[picture, :, y + i, x + j] = COLOURS[kinds[:, mark]]
    return images.clamp(0, 1), (kinds[:, 0] == kinds[:, 1]).long()


def network(*body: nn.Module, channels: int = 16) -> nn.Sequential:
    """A stem 3 → `channels`, the given body, the mean over all pixels, and a linear classifier of two.

    The classifier sees a *sum* over pixels, so marks are compared only where one pixel of the body's
    output has both of them in its receptive field.
    """
    model = nn.Sequential(
        ConvNormAct(3, channels, 3),
        *body,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 2),
    )
    return model.apply(init_weights)


def light_network(depth: int, channels: int = 16) -> nn.Sequential:
    """`depth` inverted residuals between stem and mean: receptive field 2·depth + 3 pixels each way."""
    return network(
        *(InvertedResidual(channels, channels, expansion=2) for _ in range(depth)), channels=channels
    )


class BandBlock(MobileViTBlock):
    """A MobileViTBlock with another unfold: sequence p is the p-th of P bands of rows, not place p.

    Same parameters under the same names, same shapes; `reshape` in place of unfold and fold.
    """

    def attend_globally(self, local: Tensor) -> Tensor:
        """Let the pixels of each band attend to each other: [B, D, H, W] -> [B, D, H, W]."""
        B, D, H, W = local.shape
        P = self.patch_size[0] * self.patch_size[1]
        tokens = local.permute(0, 2, 3, 1).reshape(B * P, H * W // P, D)  # [B·P, N, D]
        mixed = self.norm(self.transformer(tokens))  # [B·P, N, D]
        return mixed.view(B, H, W, D).permute(0, 3, 1, 2)  # [B, D, H, W]


def block_network(block: type[MobileViTBlock] = MobileViTBlock) -> nn.Sequential:
    """One block of 16 channels and width 32, with patches of 2 × 2, between stem and mean."""
    return network(block(16, 32, 1, dropout=0.0))


def far_apart(size: tuple[int, int]) -> Tensor:
    """Positions with one mark in the top two rows and the other in the bottom two: [M, 4]."""
    positions = mark_positions(size)
    return positions[(positions[:, 0] == 0) & (positions[:, 2] == size[0] - MARK)]


def side_by_side(size: tuple[int, int]) -> Tensor:
    """Positions with both marks in the top two rows: [M, 4]."""
    positions = mark_positions(size)
    return positions[positions[:, 2] == 0]


def learn(
    model: nn.Module,
    size: tuple[int, int],
    positions: Tensor,
    *,
    steps: int = 300,
    batch: int = 32,
    rate: float = 1e-2,
    stop_at: float | None = None,
    seed: int = 0,
) -> list[float]:
    """Train on fresh pictures, one cycle of the learning rate; returns the loss of every step.

    stop_at: end as soon as the accuracy on 400 other pictures, looked at every 25 steps, reaches it.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    losses = []
    for step in range(1, steps + 1):
        images, labels = two_marks(batch, size, positions, generator)
        loss = F.cross_entropy(model.train()(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if stop_at and step % 25 == 0 and accuracy(model, size, positions, count=400) >= stop_at:
            break
    return losses


@torch.no_grad()
def accuracy(
    model: nn.Module, size: tuple[int, int], positions: Tensor, *, count: int = 600, seed: int = 10**6
) -> float:
    """The share of right answers on `count` pictures that training has not seen; sets eval mode."""
    images, labels = two_marks(count, size, positions, torch.Generator().manual_seed(seed))
    return (model.eval()(images).argmax(dim=1) == labels).float().mean().item()

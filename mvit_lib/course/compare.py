"""`compare`: are two tensors equal?"""

import torch
from torch import Tensor


def compare(a: Tensor, b: Tensor, tol: float = 1e-5) -> None:
    """Print how far two tensors differ at most; nothing is raised.

    Prints "max|diff| = 0   ✓ equal", "max|diff| ≤ 1e-05   ✓" if the difference is at most `tol`, and
    otherwise the largest difference with its place, or that the shapes differ. The value itself is
    printed only when it is too large, since small ones vary from machine to machine.
    """
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    if a.shape != b.shape:
        print(f"✗  shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")
        return
    difference = (a.detach().double() - b.detach().double()).abs()
    largest = difference.max().item() if difference.numel() else 0.0
    if largest == 0:
        print("max|diff| = 0   ✓ equal")
    elif largest <= tol:
        print(f"max|diff| ≤ {tol:g}   ✓")
    else:
        worst = difference.nan_to_num(torch.inf).argmax()
        place = tuple(int(i) for i in torch.unravel_index(worst, a.shape))
        values = f"{a.flatten()[worst].item():.4g} and {b.flatten()[worst].item():.4g}"
        print(f"✗  max|diff| = {largest:.3g} > {tol:g}, at {list(place)}: {values}")

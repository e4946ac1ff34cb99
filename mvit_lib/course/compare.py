"""`compare`: are two tensors equal?"""

import numpy as np
import torch
from torch import Tensor


def compare(a: Tensor, b: Tensor, tol: float = 1e-5) -> None:
    """Print how far the values of two tensors differ at most (not their types); nothing is raised.

    Prints "max|diff| = 0   ✓ equal", "max|diff| ≤ 1e-05   ✓" if the difference is at most `tol`, and
    otherwise the largest difference with its place, or that the shapes differ. The value itself is
    printed only when it is too large, since small ones vary from machine to machine.
    """
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    if a.shape != b.shape:
        print(f"✗  shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")
        return
    same = (a == b).flatten()
    if a.is_complex() or b.is_complex():
        exact = torch.complex128
    else:
        exact = torch.float64 if a.is_floating_point() or b.is_floating_point() else torch.int64
    difference = (a.detach().to(exact) - b.detach().to(exact)).abs().double().flatten()
    difference = difference.masked_fill(same, 0)
    largest = difference.max().item() if difference.numel() else 0.0
    if same.all():
        print("max|diff| = 0   ✓ equal")
    elif largest <= tol:
        print(f"max|diff| ≤ {tol:g}   ✓")
    else:
        worst = difference.nan_to_num(torch.inf).argmax()
        place = tuple(int(i) for i in np.unravel_index(int(worst), a.shape))
        values = " and ".join(f"{t.flatten()[worst].item():.4g}" for t in (a, b))
        print(f"✗  max|diff| = {largest:.3g} > {tol:g}, at {list(place)}: {values}")

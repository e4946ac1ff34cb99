"""The tensor moves against torch.nn.functional in float64, and by provenance."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from mvit_lib.patches import (
    as_pair,
    col2im,
    conv2d_by_matmul,
    fold_patches,
    im2col,
    output_size,
    patchify,
    unfold_patches,
    unpatchify,
)

small = st.integers(1, 4)
pair = st.tuples(small, small)


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)


@given(small, small, pair, pair)
def test_patchify_writes_each_patch_pixel_by_pixel(B, C, grid, patch):
    (nH, nW), (ph, pw) = grid, patch
    x = numbered(B, C, nH * ph, nW * pw)
    patches = patchify(x, patch)
    assert patches.shape == (B, nH * nW, ph * pw * C)
    for n in range(nH * nW):
        row, column = n // nW * ph, n % nW * pw
        window = x[:, :, row : row + ph, column : column + pw]
        assert torch.equal(patches[:, n], window.permute(0, 2, 3, 1).flatten(1))
    assert torch.equal(unpatchify(patches, (nH * ph, nW * pw), patch), x)


@given(small, small, pair, pair, st.booleans())
def test_unfold_sorts_pixels_by_place_and_fold_puts_them_back(B, D, grid, patch, channels_last):
    (nH, nW), (ph, pw) = grid, patch
    x = numbered(B, D, nH * ph, nW * pw)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    tokens = unfold_patches(x, patch)
    assert tokens.shape == (B, ph * pw, nH * nW, D)
    for y in range(nH * ph):
        for column in range(nW * pw):
            p = y % ph * pw + column % pw
            t = y // ph * nW + column // pw
            assert torch.equal(tokens[:, p, t], x[:, :, y, column])
    assert torch.equal(fold_patches(tokens, (nH * ph, nW * pw), patch), x)


def test_fold_writes_channels_last():
    folded = fold_patches(torch.randn(2, 4, 6, 5), (4, 6), 2)
    assert folded.is_contiguous(memory_format=torch.channels_last)


def test_unfold_agrees_with_the_two_by_two_example_of_the_course():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = [[0, 2, 8, 10], [1, 3, 9, 11], [4, 6, 12, 14], [5, 7, 13, 15]]
    assert unfold_patches(x, 2)[0, :, :, 0].tolist() == expected


def test_a_plain_reshape_is_not_an_unfold():
    """The mistake that has the right shape and folds back perfectly."""
    x = numbered(1, 1, 4, 4)
    assert not torch.equal(x.reshape(1, 4, 4, 1), unfold_patches(x, 2))


convolutions = st.fixed_dictionaries(
    {
        "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "dilation": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    }
)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def fits(size, c) -> bool:
    axes = zip(size, c["kernel_size"], c["padding"], c["dilation"], strict=True)
    return all(n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in axes)


@given(small, small, sizes, convolutions)
def test_im2col_and_col2im_equal_torch(B, C, size, c):
    assume(fits(size, c))
    x = torch.randn(B, C, *size, dtype=torch.float64)
    columns = im2col(x, **c)
    assert torch.equal(columns, F.unfold(x, **c))
    y = torch.randn_like(columns)
    back = col2im(y, size, **c)
    torch.testing.assert_close(back, F.fold(y, size, **c), rtol=0, atol=1e-12)
    # Adjoint: moving x forward and weighing by y is moving y back and weighing by x.
    torch.testing.assert_close((columns * y).sum(), (x * back).sum(), rtol=1e-10, atol=1e-10)


@given(small, small, small, small, sizes, convolutions, st.booleans())
def test_convolution_by_matmul_equals_torch(B, groups, per_group, out_per_group, size, c, bias):
    assume(fits(size, c))
    x = torch.randn(B, groups * per_group, *size, dtype=torch.float64)
    weight = torch.randn(groups * out_per_group, per_group, *c["kernel_size"], dtype=torch.float64)
    b = torch.randn(groups * out_per_group, dtype=torch.float64) if bias else None
    geometry = {name: value for name, value in c.items() if name != "kernel_size"}
    ours = conv2d_by_matmul(x, weight, b, groups=groups, **geometry)
    theirs = F.conv2d(x, weight, b, groups=groups, **geometry)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert ours.shape[-2:] == output_size(size, **c)


def test_convolution_by_matmul_has_the_gradient_of_a_convolution():
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    ours = conv2d_by_matmul(x, weight, stride=2, padding=1, groups=2).square().sum()
    theirs = F.conv2d(x, weight, stride=2, padding=1, groups=2).square().sum()
    for a, b in zip(
        torch.autograd.grad(ours, (x, weight)), torch.autograd.grad(theirs, (x, weight)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: unfold_patches(torch.zeros(3, 4, 4), 2), ValueError, r"\[B, D, H, W\].*\(3, 4, 4\)"),
        (lambda: unfold_patches(torch.zeros(1, 3, 5, 4), 2), ValueError, r"\(2, 2\).*\(5, 4\)"),
        (lambda: unfold_patches(torch.zeros(1, 3, 4, 4), 0), ValueError, "patch_size .*at least 1.*0"),
        (lambda: unfold_patches(torch.zeros(1, 3, 4, 4), 2.0), TypeError, "patch_size .*2.0"),
        (lambda: fold_patches(torch.zeros(1, 4, 3, 8), (4, 4), 2), ValueError, r"\[B, 4, 4, D\]"),
        (lambda: unpatchify(torch.zeros(1, 4, 7), (4, 4), 2), ValueError, r"\[B, 4, 4·C\]"),
        (lambda: patchify(torch.zeros(1, 3, 4, 6), 4), ValueError, r"\(4, 4\).*\(4, 6\)"),
        (lambda: im2col(torch.zeros(1, 1, 2, 2), 3), ValueError, r"kernel_size \(3, 3\).*\(2, 2\)"),
        (lambda: col2im(torch.zeros(1, 9, 5), (4, 4), 3), ValueError, r"\[B, C·9, 4\]"),
        (lambda: as_pair((1, 2, 3), "stride"), TypeError, "stride"),
        (
            lambda: conv2d_by_matmul(torch.zeros(1, 3, 4, 4), torch.zeros(4, 2, 3, 3)),
            ValueError,
            "groups 1 .*3 input channels",
        ),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_whole_numbers_of_any_kind_are_taken_and_bools_are_not():
    assert as_pair(np.int64(2), "stride") == (2, 2)
    assert torch.equal(unpatchify(patchify(numbered(1, 2, 4, 4), 2), 4, 2), numbered(1, 2, 4, 4))
    with pytest.raises(TypeError, match="stride .*True"):
        as_pair(True, "stride")


def test_an_empty_batch_passes_through():
    x = torch.zeros(0, 3, 4, 4)
    assert unpatchify(patchify(x, 2), (4, 4), 2).shape == x.shape
    assert fold_patches(unfold_patches(x, 2), (4, 4), 2).shape == x.shape
    assert col2im(im2col(x, 3), (4, 4), 3).shape == x.shape


def test_a_bias_of_the_wrong_length_is_named():
    with pytest.raises(ValueError, match=r"bias \[4\].*\(1,\)"):
        conv2d_by_matmul(torch.zeros(1, 3, 4, 4), torch.zeros(4, 3, 3, 3), torch.zeros(1))

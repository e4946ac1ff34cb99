"""Reading attention: geometry against the block's own moves, rollouts against matrices, known answers."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mvit_lib import MobileViT, MobileViTBlock, MobileViTConfig, ViT, ViTConfig
from mvit_lib.attention import (
    AttentionMap,
    attention_from_pixel,
    attention_rollout,
    attention_through_convolution,
    class_rollout,
    entropy_share,
    even_attention,
    record_attention,
)
from mvit_lib.attention_reading import cells_of_image, find_map
from mvit_lib.course.two_marks import COLOURS, accuracy, block_network, far_apart, learn, two_marks
from mvit_lib.patches import fold_patches, unfold_patches

TINY = MobileViTConfig(channels=(8,) * 6, dims=(8, 16, 24), depths=(1, 2, 1), num_classes=5, num_heads=2)


def hand_made(
    map_size, patch, image_size, heads=2, stage="layer_3", layer=0, seed=0, kernel=3
) -> AttentionMap:
    grid = tuple(-(-n // side) for n, side in zip(map_size, patch, strict=True))
    P, N = math.prod(patch), math.prod(grid)
    scores = torch.randn(
        1, P, heads, N, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    stride = round(image_size[0] / map_size[0])
    geometry = (patch, grid, map_size, stride, image_size)
    return AttentionMap(scores.softmax(-1), stage, layer, *geometry, kernel_size=kernel)


def identity(m: AttentionMap) -> AttentionMap:
    eye = torch.eye(m.weights.shape[-1], dtype=torch.float64).expand(m.weights.shape)
    return replace(m, weights=eye)


GEOMETRIES = [
    ((4, 6), (2, 2), (32, 48)),
    ((6, 4), (3, 2), (48, 32)),
    ((8, 4), (4, 1), (16, 8)),
    ((2, 3), (1, 1), (16, 24)),
]


@pytest.mark.parametrize(("size", "patch", "image_size"), GEOMETRIES)
def test_a_pixel_finds_the_token_that_unfold_gives_it(size, patch, image_size):
    """Number the map's pixels, unfold them, and look the number up."""
    m = hand_made(size, patch, image_size)
    numbers = torch.arange(math.prod(size)).reshape(1, 1, *size)
    tokens = unfold_patches(numbers, patch)[0, :, :, 0]  # [P, N]
    step = image_size[0] // size[0], image_size[1] // size[1]
    for y in range(0, image_size[0], 3):
        for x in range(image_size[1]):
            seen = attention_from_pixel([m], y, x, head=1)
            i, j = y // step[0], x // step[1]
            assert seen.pixel == (i, j)
            assert tokens[seen.position, seen.token] == i * size[1] + j
            expected = m.weights[0, seen.position, 1, seen.token]
            assert torch.equal(seen.weights.flatten(), expected)
            # Every pixel of the image shows the weight of the patch it lies in.
            assert seen.on_image.shape == image_size
            assert seen.on_image[y, x] == expected[seen.token]
    large = seen.weights.repeat_interleave(patch[0] * step[0], 0).repeat_interleave(patch[1] * step[1], 1)
    assert torch.equal(seen.on_image, large)


@pytest.mark.parametrize(("map_size", "patch", "image_size"), [
    ((7, 5), (2, 2), (50, 37)), ((3, 3), (2, 2), (96, 96)), ((5, 9), (4, 2), (160, 288)),
])  # fmt: skip
def test_a_stretched_map_is_followed_into_its_cells(map_size, patch, image_size):
    """Against the definition, in exact fractions; and no cell of the stretched map is skipped by two."""
    m = hand_made(map_size, patch, image_size)
    for axis, cells in enumerate(cells_of_image(m)):
        H, n = image_size[axis], map_size[axis]
        tiled = m.grid[axis] * patch[axis]
        own = [y * n // H for y in range(H)]
        assert cells.tolist() == [math.floor((i + 0.5) * tiled / n + 1e-9) for i in own]
        assert cells[0] == 0
        assert cells[-1] == tiled - 1
        assert cells.diff().min() >= 0
        assert cells.diff().max() <= 2
    seen = attention_from_pixel([m], image_size[0] - 1, 0)
    assert seen.pixel == (m.grid[0] * patch[0] - 1, 0)
    assert seen.token == (m.grid[0] - 1) * m.grid[1]


def test_the_geometry_of_a_real_network():
    """A change of the image inside one cell changes the block's map around the pixel that is found."""
    model = MobileViT(TINY).double().eval()
    x = torch.full((1, 3, 64, 96), 0.5, dtype=torch.float64)
    seen = []
    model.layer_3[1].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0]))
    with torch.no_grad(), record_attention(model) as maps:
        model(x)
        x[:, :, 40:48, 72:80] = 1
        model(x)
    change = (seen[1] - seen[0])[0].abs().sum(0)  # [8, 12]
    rows, columns = torch.arange(8.0).double(), torch.arange(12.0).double()
    centre = (change.sum(1) @ rows / change.sum(), change.sum(0) @ columns / change.sum())
    pixel = attention_from_pixel(maps, 44, 76, ("layer_3", 0)).pixel
    assert pixel == (5, 9)
    assert pixel == pytest.approx([c.item() for c in centre], abs=0.75)


def test_heads_layers_and_images_are_chosen():
    maps = [hand_made((4, 4), (2, 2), (32, 32), layer=i, seed=i) for i in range(3)]
    mean = attention_from_pixel(maps, 9, 20, layer=2)
    heads = [attention_from_pixel(maps, 9, 20, ("layer_3", 2), head).weights for head in (0, 1)]
    torch.testing.assert_close(mean.weights, (heads[0] + heads[1]) / 2)
    assert torch.equal(attention_from_pixel(maps, 9, 20, -1).weights, mean.weights)
    assert mean.weights.sum().item() == pytest.approx(1)
    assert mean.entropy == pytest.approx(entropy_share(mean.weights.flatten()).item())


def test_entropy_is_a_share_of_its_maximum():
    rows = torch.tensor([[0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0]])
    assert entropy_share(rows).tolist() == pytest.approx([1, 0, 0.5])
    assert entropy_share(torch.ones(1)).item() == 0


def test_vit_keeps_its_prefix_apart():
    model = ViT(ViTConfig(image_size=(32, 48), patch_size=16, dim=12, depth=2, num_classes=3)).eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(torch.rand(1, 3, 32, 48))
    seen = attention_from_pixel(maps, 20, 40, layer=1, head=2)
    row = maps[1].weights[0, 0, 2, 1 + 5]  # [1 + N]
    assert (seen.position, seen.token, seen.weights.shape) == (0, 5, (2, 3))
    assert torch.equal(seen.weights.flatten(), row[1:])
    assert seen.prefix == row[0].item()
    assert seen.entropy == pytest.approx(entropy_share(row).item())  # of all tokens
    assert seen.on_image[31, 0] == row[1 + 3]
    with pytest.raises(ValueError, match="no such convolution"):
        attention_through_convolution(maps[1], seen)


@pytest.mark.parametrize(
    ("size", "patch", "kernel"), [((6, 8), (2, 2), 3), ((6, 8), (3, 4), 5), ((4, 4), (2, 2), 1)]
)
def test_convolution_hands_weights_on_to_windows(size, patch, kernel):
    m = hand_made(size, patch, (size[0] * 8, size[1] * 8), kernel=kernel)
    seen = attention_from_pixel([m], 17, 9)
    expected = torch.zeros(size, dtype=torch.float64)
    for t, weight in enumerate(seen.weights.flatten()):
        i = t // m.grid[1] * patch[0] + seen.position // patch[1]
        j = t % m.grid[1] * patch[1] + seen.position % patch[1]
        window = expected[max(0, i - kernel // 2) : i + kernel // 2 + 1,
                          max(0, j - kernel // 2) : j + kernel // 2 + 1]  # fmt: skip
        window += weight / window.numel()
    torch.testing.assert_close(attention_through_convolution(m, seen), expected)


def linear_network(maps, kernel=3):
    """The rollout as a forward network of means and matrices: [1, 1, *first map] -> [1, 1, *last map]."""

    def mean_window(z, stride=1, n=kernel):
        ones = torch.ones_like(z)
        weight = z.new_ones(1, 1, n, n)
        return F.conv2d(z, weight, stride=stride, padding=n // 2) / F.conv2d(
            ones, weight, stride=stride, padding=n // 2
        )

    def forward(z):
        stages = list(dict.fromkeys(m.stage for m in maps))
        for stage in stages:
            layers = [m for m in maps if m.stage == stage]
            m = layers[0]
            if stage != stages[0]:
                z = mean_window(z, round(z.shape[-1] / m.map_size[1]), 3)
            tiled = (m.grid[0] * m.patch_size[0], m.grid[1] * m.patch_size[1])
            y = F.interpolate(mean_window(z), tiled, mode="bilinear", align_corners=False)
            tokens = unfold_patches(y, m.patch_size)[0]  # [P, N, 1]
            for layer in layers:
                tokens = (tokens + layer.weights[0].mean(1) @ tokens) / 2
            y = fold_patches(tokens[None], tiled, m.patch_size)
            y = F.interpolate(y, m.map_size, mode="bilinear", align_corners=False)
            z = mean_window((z + y) / 2)
        return z

    return forward


def three_stages(image_size, sizes, patch=(2, 2)):
    depths = (2, 1, 2)
    return [
        hand_made(size, patch, image_size, stage=f"layer_{3 + s}", layer=i, seed=10 * s + i)
        for s, size in enumerate(sizes)
        for i in range(depths[s])
    ]


@pytest.mark.parametrize(("image_size", "sizes", "patch"), [
    ((64, 96), ((8, 12), (4, 6), (2, 3)), (2, 2)), ((56, 40), ((7, 5), (4, 3), (2, 2)), (2, 2)),
    ((72, 64), ((9, 8), (5, 4), (5, 4)), (3, 2)),
])  # fmt: skip
def test_rollout_is_the_adjoint_of_the_network_it_describes(image_size, sizes, patch):
    """Autograd through convolutions, unfold, matrices and fold, written forwards, gives the same shares."""
    maps = three_stages(image_size, sizes, patch)
    z = torch.zeros(1, 1, *sizes[0], dtype=torch.float64, requires_grad=True)
    out = linear_network(maps)(z)
    assert out.shape[-2:] == sizes[2]
    for listener in (None, (0, 0), (image_size[0] - 1, image_size[1] // 2)):
        if listener is None:
            value, found = out.mean(), attention_rollout(maps)
        else:
            i, j = (at * n // side for at, n, side in zip(listener, sizes[2], image_size, strict=True))
            value, found = out[0, 0, i, j], attention_rollout(maps, *listener)
        (expected,) = torch.autograd.grad(value, z, retain_graph=True)
        first = [-((-torch.arange(n) * side) // n) for n, side in zip(sizes[0], image_size, strict=True)]
        at_map = found[first[0]][:, first[1]]  # the first image pixel of every map pixel
        torch.testing.assert_close(at_map, expected[0, 0], rtol=0, atol=1e-12)
        assert at_map.sum().item() == pytest.approx(1)


def test_without_attention_or_windows_a_rollout_stays_where_it_is():
    maps = [identity(hand_made((4, 4), (2, 2), (32, 32), layer=i, kernel=1)) for i in range(3)]
    found = attention_rollout(maps, 9, 20)
    expected = torch.zeros(32, 32, dtype=torch.float64)
    expected[8:16, 16:24] = 1
    assert torch.equal(found, expected)
    mean = attention_rollout(maps)
    assert torch.equal(mean, torch.full_like(mean, 1 / 16))


def test_without_windows_places_never_mix_and_with_them_they_do():
    def two_layers(kernel):
        return [hand_made((6, 6), (2, 2), (6, 6), layer=i, seed=i, kernel=kernel) for i in range(2)]

    apart = attention_rollout(two_layers(1), 3, 2) > 0
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[1::2, 0::2] = True
    assert torch.equal(apart, expected)
    assert (attention_rollout(two_layers(3), 3, 2) > 0).all()


def test_against_even_attention_a_rollout_shows_where_all_look():
    """Every pixel looks at patch 7, at the right border, where strides and windows alone leave little."""
    maps = three_stages((64, 64), ((8, 8), (4, 4), (2, 2)))
    for m in maps[:2]:
        m.weights.zero_()
        m.weights[..., 7] = 1  # of 4 × 4 patches the last in row 1: pixels (2 … 3, 6 … 7)
    control = even_attention(maps)
    assert all(torch.equal(m.weights, torch.full_like(m.weights, 1 / m.weights.shape[-1])) for m in control)
    assert [(m.stage, m.grid, m.map_size) for m in control] == [(m.stage, m.grid, m.map_size) for m in maps]
    alone = attention_rollout(control)
    assert alone.max() > 2 * alone.min()
    ratio = (attention_rollout(maps) / alone)[::8, ::8]  # [8, 8]
    assert (ratio[2:4, 6:8] > 1.5).all()
    assert divmod(int(ratio.argmax()), 8) in [(2, 6), (2, 7), (3, 6), (3, 7)]


def test_rollout_of_a_vit_is_that_of_its_inventors():
    model = ViT(ViTConfig(image_size=(32, 48), patch_size=16, dim=12, depth=3, num_classes=3)).double().eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(torch.rand(1, 3, 32, 48, dtype=torch.float64))
    product = torch.eye(7, dtype=torch.float64)
    for m in maps:
        product = (m.weights[0, 0].mean(0) + torch.eye(7)) / 2 @ product
    torch.testing.assert_close(attention_rollout(maps)[::16, ::16].flatten(), product[0, 1:])
    torch.testing.assert_close(attention_rollout(maps, 17, 1)[::16, ::16].flatten(), product[4, 1:])


def test_class_rollout_of_a_vit_is_that_of_its_inventors():
    model = ViT(ViTConfig(image_size=32, patch_size=16, dim=12, depth=3, num_classes=3)).double().eval()
    with record_attention(model, keep_grad=True) as maps:
        model(torch.rand(1, 3, 32, 32, dtype=torch.float64))[0, 1].backward()
    relevance = torch.eye(5, dtype=torch.float64)
    for m in maps:
        weighted = (m.weights * m.weights.grad).clamp(min=0)[0, 0].mean(0).detach()
        relevance = relevance + weighted @ relevance
    expected = relevance[0, 1:] / relevance[0, 1:].sum()
    torch.testing.assert_close(class_rollout(maps)[::16, ::16].flatten(), expected)


def test_class_rollout_finds_the_weight_that_speaks_for_the_class():
    """One gradient entry, set by hand: all relevance lies in the window of its key, after one window more."""
    m = hand_made((6, 6), (2, 2), (6, 6))
    m.weights.grad = torch.zeros_like(m.weights)
    m.weights.grad[0, 1, 0, 4, 8] = 2.0  # place 1, patch 4 listens to patch 8: pixel (4, 5)
    m.weights.grad[0, 2, 1, 0, 3] = -5.0  # speaks against
    found = class_rollout([m])
    assert found.nonzero().tolist() == [[i, j] for i in (3, 4, 5) for j in (4, 5)]
    assert found[3, 4].item() == pytest.approx(1 / 6)
    m.weights.grad.zero_()
    assert not class_rollout([m]).any()


def test_rollout_runs_on_a_network_of_any_size():
    model = MobileViT(TINY).eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(torch.rand(2, 3, 75, 50))
    found = [attention_rollout(maps, 70, 3, image=i) for i in (0, 1)]
    for rollout in found:
        assert rollout.shape == (75, 50)
        first = [sorted({y * n // side: y for y in reversed(range(side))}.values())
                 for n, side in zip(maps[0].map_size, (75, 50), strict=True)]  # fmt: skip
        assert rollout[first[0]][:, first[1]].sum().item() == pytest.approx(1)
    assert not torch.equal(*found)


def test_class_rollout_runs_on_a_network():
    model = MobileViT(TINY).eval()
    x = torch.rand(1, 3, 70, 64)
    with record_attention(model, keep_grad=True) as maps:
        model(x)[0, 2].backward()
    found = class_rollout(maps)
    assert found.shape == (70, 64)
    assert found.min() >= 0
    assert found.max() > 0
    with torch.no_grad(), record_attention(model) as plain:
        model(x)
    with pytest.raises(ValueError, match="keep_grad"):
        class_rollout(plain)


def test_what_does_not_exist_is_named():
    m = hand_made((4, 4), (2, 2), (32, 24))
    for y, x in ((32, 0), (0, 24), (-1, 0)):
        with pytest.raises(ValueError, match=rf"pixel \({y}, {x}\).*32 × 24"):
            attention_from_pixel([m], y, x)
    with pytest.raises(ValueError, match=r"layer=\('layer_4', 0\).*\('layer_3', 0\)"):
        attention_from_pixel([m], 0, 0, ("layer_4", 0))
    with pytest.raises(ValueError, match="layer=3"):
        find_map([m], 3)
    with pytest.raises(ValueError, match=r"head=2: expected 0 … 1"):
        attention_from_pixel([m], 0, 0, head=2)
    with pytest.raises(ValueError, match="image=1"):
        attention_from_pixel([m], 0, 0, image=1)
    with pytest.raises(ValueError, match="both y and x"):
        attention_rollout([m], 3)
    with pytest.raises(ValueError, match="layer=-1"):
        attention_rollout([])


def like_finds_like(sharpness: float) -> MobileViTBlock:
    """A block whose tokens are the pixel's own colour, queries and keys set so that equal colours match."""
    block = MobileViTBlock(3, 4, 1, num_heads=1, kernel_size=1, dropout=0).eval()
    layer = block.transformer[0]
    block.local_conv = nn.Identity()
    with torch.no_grad():
        block.local_project.weight.zero_()
        block.local_project.weight[:3, :, 0, 0] = torch.eye(3)
        layer.norm1.weight.fill_(1)
        layer.norm1.bias.zero_()
        layer.attention.qkv.weight.zero_()
        layer.attention.qkv.bias.zero_()
        for part in range(2):  # queries and keys alike
            layer.attention.qkv.weight[4 * part : 4 * part + 4] = sharpness * torch.eye(4)
    return block


def test_a_mark_attends_to_its_like():
    """Two red marks and a blue one on grey: red finds red wherever it stands, at the mark's own place."""
    image = torch.full((1, 3, 12, 16), 0.5)
    for (y, x), colour in zip(((1, 2), (8, 11), (5, 7)), (0, 0, 1), strict=True):
        image[0, :, y : y + 2, x : x + 2] = COLOURS[colour][:, None, None]
    block = like_finds_like(3.0)
    with torch.no_grad(), record_attention(block) as maps:
        block(image)
    assert maps[0].kernel_size == 1
    for i in (0, 1):
        for j in (0, 1):
            seen = attention_from_pixel(maps, 1 + i, 2 + j)
            ((y, x),) = [(y, x) for y in (8, 9) for x in (11, 12) if (y % 2, x % 2) == ((1 + i) % 2, j % 2)]
            assert seen.weights[y // 2, x // 2] == pytest.approx(0.5, abs=0.01)
            assert seen.weights[(1 + i) // 2, (2 + j) // 2] == pytest.approx(0.5, abs=0.01)


def mass_on_the_other_mark(model: nn.Module, size=(16, 8), count=200) -> float:
    """Mean weight that a pixel of a mark puts on the other mark's pixel at its place; 1/32 if all alike."""
    positions = far_apart(size)
    draw = torch.Generator().manual_seed(5)
    masses = []
    for _ in range(count):
        place = positions[torch.randint(len(positions), (1,), generator=draw)]
        images, _ = two_marks(1, size, place, draw)
        y1, x1, y2, x2 = place[0].tolist()
        with torch.no_grad(), record_attention(model.eval()) as maps:
            model(images)
        for (a, b), (c, d) in (((y1, x1), (y2, x2)), ((y2, x2), (y1, x1))):
            seen = attention_from_pixel(maps, a, b)
            c, d = c + (a - c) % 2, d + (b - d) % 2  # the pixel of the other mark at the same place
            masses.append(seen.weights[c // 2, d // 2].item())
    return sum(masses) / len(masses)


@pytest.mark.slow
def test_a_trained_network_looks_at_the_other_mark():
    """Same or different, learned: far more weight on the other mark than with random weights."""
    random, trained = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        model = block_network()
        random.append(mass_on_the_other_mark(model))
        learn(model, (16, 8), far_apart((16, 8)), steps=150, batch=64, stop_at=0.99, seed=seed)
        assert accuracy(model, (16, 8), far_apart((16, 8))) > 0.95
        trained.append(mass_on_the_other_mark(model))
    assert all(abs(mass - 1 / 32) < 0.01 for mass in random)  # found: 0.031 each
    assert all(mass > 2 / 32 for mass in trained)  # found: 0.14, 0.32, 0.12

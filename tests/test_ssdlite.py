"""SSDLite is the official head: counts, function, order of answers, loss by hand; and it finds things."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peers import BUILDERS, randomise
from PIL import Image
from tiny import tiny_model
from torch import nn

from mvit_lib import MobileNetV2, mobilevit_xxs
from mvit_lib.cost import count_macs, count_parameters
from mvit_lib.heads import SSDLite
from mvit_lib.heads.boxes import encode, iou, match
from mvit_lib.heads.ssdlite import Detection, hard_negatives, ssd_anchors, ssd_loss
from mvit_lib.transforms import EvalTransform

# The fact sheet of the official code, 81 classes.
TOTALS = {"xxs": 1_755_050, "xs": 2_742_042, "s": 5_738_826}
ENCODERS = {"xxs": 924_784, "xs": 1_895_216, "s": 4_833_952}
EXTRA_LAYERS = {
    "xxs": [21_872, 35_840, 18_048, 8_192],
    "xs": [26_144, 35_840, 18_048, 8_192],
    "s": [43_232, 35_840, 18_048, 8_192],
}
HEADS = {
    "xxs": [301_054, 154_878, 133_886, 67_198, 67_198, 22_100],
    "xs": [309_246, 158_974, 133_886, 67_198, 67_198, 22_100],
    "s": [333_822, 175_358, 133_886, 67_198, 67_198, 22_100],
}
GMACS_320 = {"xxs": 0.8420, "xs": 1.8454, "s": 3.4267}
RULES = {"min_score": 0.5, "iou_threshold": 0.5}


def tiny_detector(num_classes: int = 4) -> SSDLite:
    return SSDLite(tiny_model(num_classes=0), num_classes)


def target(boxes, labels, crowd=None) -> dict[str, torch.Tensor]:
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float64).view(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "crowd": torch.tensor(crowd or [False] * len(labels), dtype=torch.bool),
    }


@pytest.mark.parametrize("size", BUILDERS)
def test_parameters_and_macs_per_part(size):
    model = SSDLite(BUILDERS[size](num_classes=0))
    assert count_parameters(model) == TOTALS[size]
    assert count_parameters(model.backbone) == ENCODERS[size]
    assert [count_parameters(part) for part in model.extra_layers] == EXTRA_LAYERS[size]
    assert [count_parameters(part) for part in model.heads] == HEADS[size]
    assert round(count_macs(model, 320) / 1e9, 4) == GMACS_320[size]


def by_the_fact_sheet(model, maps, K):
    """Extra layers and heads written down from raw tensors, without a module of the library."""
    state = model.state_dict()

    def conv_norm(x, name, **options):
        y = F.conv2d(x, state[f"{name}.conv.weight"], **options)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(y, *(state[f"{name}.norm.{n}"] for n in names), eps=1e-5)

    def depthwise(x, name, stride=1):
        return conv_norm(x, name, stride=stride, padding=1, groups=x.shape[1])

    for i in range(3):
        y = depthwise(maps[-1], f"extra_layers.{i}.0", stride=2)
        maps.append(conv_norm(y, f"extra_layers.{i}.1").relu())
    mean = maps[-1].mean((2, 3), keepdim=True)
    maps.append(F.conv2d(mean, state["extra_layers.3.1.weight"]).relu())
    answers = []
    for i, x in enumerate(maps):
        last = f"heads.{i}"
        if i < 2:
            x = conv_norm(x, f"heads.{i}.0").relu()
        if i < 5:
            x = depthwise(x, f"heads.{i}.{1 if i < 2 else 0}")
            last = f"heads.{i}.{2 if i < 2 else 1}"
        x = F.conv2d(x, state[f"{last}.weight"], state[f"{last}.bias"])
        anchors = 6 if i < 5 else 4
        B, _, H, W = x.shape
        x = x.view(B, anchors, 4 + K, H, W).permute(0, 3, 4, 1, 2)
        answers.append(x.reshape(B, H * W * anchors, 4 + K))
    return torch.cat(answers, 1)


@pytest.mark.parametrize(
    "backbone", [lambda: mobilevit_xxs(0), lambda: MobileNetV2(0), lambda: tiny_model(0)]
)
def test_the_function_is_the_fact_sheets(backbone):
    model = SSDLite(backbone(), num_classes=5).double().eval()
    randomise(model)
    x = torch.rand(2, 3, 160, 96, dtype=torch.float64)
    with torch.no_grad():
        loc, logits = model(x)
        features = model.backbone.forward_features(x)
        expected = by_the_fact_sheet(model, [features["layer_4"], features["layer_5"]], 5)
    assert loc.shape == (2, 508, 4)
    torch.testing.assert_close(torch.cat([loc, logits], 2), expected, rtol=1e-12, atol=1e-9)


def test_the_maps_at_320():
    model = SSDLite(mobilevit_xxs(0)).eval()
    with torch.no_grad():
        maps = model.forward_maps(torch.rand(1, 3, 320, 320))
        loc, logits = model(torch.rand(1, 3, 320, 320))
    sizes = [(64, 20), (80, 10), (256, 5), (128, 3), (128, 2), (64, 1)]
    assert [tuple(m.shape[1:]) for m in maps] == [(c, n, n) for c, n in sizes]
    assert (loc.shape, logits.shape) == ((1, 3232, 4), (1, 3232, 81))


class Where(nn.Module):
    """A head that answers with the place of each of its pixels, in shares of the image."""

    def __init__(self, anchors: int, num_classes: int) -> None:
        super().__init__()
        self.anchors, self.num_classes = anchors, num_classes

    def forward(self, x):
        B, _, H, W = x.shape
        y, columns = ((torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (H, W))
        rows, columns = torch.meshgrid(y, columns, indexing="ij")
        kind = torch.arange(self.anchors, dtype=torch.float64)
        loc = [columns, rows, torch.full_like(rows, W), torch.full_like(rows, H)]
        per_anchor = torch.stack([*loc, *[torch.zeros_like(rows)] * self.num_classes])
        answers = per_anchor.repeat(self.anchors, 1, 1)
        answers[4 :: 4 + self.num_classes] = kind[:, None, None]
        return answers.expand(B, -1, H, W)


@given(st.integers(64, 200), st.integers(64, 200), st.integers(2, 5))
@example(640, 300, 3)
@settings(max_examples=10)
def test_any_size_and_every_answer_belongs_to_its_anchor(height, width, num_classes):
    model = tiny_detector(num_classes).eval()
    for i in range(6):
        model.heads[i] = Where(6 if i < 5 else 4, num_classes)
    with torch.no_grad():
        loc, logits = model(torch.rand(1, 3, height, width))
    anchors = ssd_anchors((height, width))
    assert loc.shape == (1, *anchors.shape)
    assert logits.shape == (1, len(anchors), num_classes)
    relative = anchors.double() / torch.tensor([width, height] * 2)
    torch.testing.assert_close(loc[0, :, :2], relative[:, :2], rtol=0, atol=1e-6)
    # The first two kinds are squares, then wide and tall by turns; on the last map there are four.
    kind = logits[0, :, 0]
    wide, tall = (kind == 2) | (kind == 4), (kind == 3) | (kind == 5)
    assert (relative[wide, 2] > relative[wide, 3]).all()
    assert (relative[tall, 2] < relative[tall, 3]).all()
    torch.testing.assert_close(relative[kind < 2, 2], relative[kind < 2, 3], rtol=0, atol=1e-6)
    assert kind[-4:].tolist() == [0, 1, 2, 3]


def test_exports_with_a_free_batch_size():
    model = tiny_detector().eval()
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    program = torch.export.export(model, (torch.rand(2, 3, 96, 64),), dynamic_shapes=(batch,))
    x = torch.rand(5, 3, 96, 64)
    with torch.no_grad():
        for ours, exported in zip(model(x), program.module()(x), strict=True):
            torch.testing.assert_close(exported, ours, rtol=0, atol=1e-4)


def test_initialisation_is_xavier_uniform():
    model = SSDLite(mobilevit_xxs(0))
    weight = model.heads[0][2].weight
    bound = math.sqrt(6 / sum(weight.shape[:2]))
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert all(
        (m.bias == 0).all() for m in model.heads.modules() if isinstance(m, nn.Conv2d) and m.bias is not None
    )
    # The backbone keeps its own.
    assert model.backbone.layer_2[1].expand.conv.weight.std().item() == pytest.approx(
        math.sqrt(2 / 48), rel=0.1
    )


# The loss


def loss_by_hand(loc, logits, targets, anchors):
    """Anchor by anchor in plain Python."""
    total, count = 0.0, 0
    for image, t in enumerate(targets):
        objects = [m for m in range(len(t["labels"])) if not t["crowd"][m]]
        found = match(t["boxes"][objects], anchors).tolist()
        log_p = logits[image].log_softmax(-1)
        background = []
        for a, m in enumerate(found):
            if m < 0:
                background.append(-log_p[a, 0].item())
                continue
            count += 1
            total -= log_p[a, t["labels"][objects[m]]].item()
            for d in (loc[image, a] - encode(t["boxes"][objects[m]], anchors[a])).abs().tolist():
                total += d - 0.5 if d > 1 else d * d / 2
        positives = len(found) - len(background)
        total += sum(sorted(background, reverse=True)[: 3 * positives])
    return total / max(count, 1)


def case(seed=0):
    generator = torch.Generator().manual_seed(seed)
    anchors = ssd_anchors((64, 96)).double()
    loc = torch.randn(3, len(anchors), 4, generator=generator, dtype=torch.float64).requires_grad_()
    logits = torch.randn(3, len(anchors), 4, generator=generator, dtype=torch.float64).requires_grad_()
    targets = [
        target([[1, 2, 30, 40], [50, 10, 90, 60], [3, 3, 9, 12]], [3, 1, 2]),
        target([], []),
        target([[10, 10, 60, 50], [0, 0, 96, 64]], [2, 1], [False, True]),
    ]
    return loc, logits, targets, anchors


@pytest.mark.parametrize("seed", range(3))
def test_loss_equals_the_definition(seed):
    loc, logits, targets, anchors = case(seed)
    expected = loss_by_hand(loc, logits, targets, anchors)
    assert ssd_loss(loc, logits, targets, anchors).item() == pytest.approx(expected, rel=1e-12)


def test_only_matched_and_hard_anchors_learn():
    loc, logits, targets, anchors = case()
    ssd_loss(loc, logits, targets, anchors).backward()
    for image, t in enumerate(targets):
        positive = match(t["boxes"][~t["crowd"]], anchors) >= 0
        assert torch.equal((loc.grad[image] != 0).any(1), positive)
        learns = (logits.grad[image] != 0).any(1)
        assert learns[positive].all()
        assert learns.sum() == 4 * positive.sum()


def test_crowds_and_the_order_of_objects_change_nothing():
    loc, logits, targets, anchors = case()
    loss = ssd_loss(loc, logits, targets, anchors)
    changed = [{k: v.flip(0) for k, v in targets[0].items()}, targets[1], target([[10, 10, 60, 50]], [2])]
    assert ssd_loss(loc, logits, changed, anchors).item() == pytest.approx(loss.item(), rel=1e-12)


def test_without_any_object_loss_and_gradients_are_zero():
    loc, logits, _, anchors = case()
    loss = ssd_loss(loc, logits, [target([], [])] * 2 + [target([[1, 1, 9, 9]], [1], [True])], anchors)
    loss.backward()
    assert loss.item() == 0
    assert (loc.grad == 0).all()
    assert (logits.grad == 0).all()


def test_the_right_answer_costs_nothing():
    _, _, targets, anchors = case()
    loc, logits = torch.zeros(1, len(anchors), 4), torch.zeros(1, len(anchors), 4)
    box = match(targets[0]["boxes"], anchors)
    loc = encode(targets[0]["boxes"][box], anchors)[None]
    labels = torch.where(box < 0, 0, targets[0]["labels"][box])
    logits = 50.0 * F.one_hot(labels, 4)[None]
    assert ssd_loss(loc, logits, targets[:1], anchors).item() < 1e-9


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=20), st.integers(0, 3))
def test_hard_negatives_are_the_worst_three_per_positive(rows, ratio):
    positive = torch.tensor([[p for p, _ in rows]])
    surprise = torch.tensor([[float(s) for _, s in rows]])
    chosen = hard_negatives(surprise, positive, ratio)
    negatives = (~positive).sum().item()
    assert not (chosen & positive).any()
    assert chosen.sum() == min(ratio * positive.sum().item(), negatives)
    left = surprise[~positive & ~chosen]
    assert not chosen.any() or not len(left) or surprise[chosen].min() >= left.max()


@pytest.mark.parametrize("label", [0, 4, -1])
def test_labels_out_of_range_are_named(label):
    loc, logits, _, anchors = case()
    with pytest.raises(ValueError, match=rf"label {label}: expected 1 … 3"):
        ssd_loss(loc[:1], logits[:1], [target([[1, 1, 9, 9]], [label])], anchors)


def test_loss_under_autocast_is_float32():
    model, image = tiny_detector(), torch.rand(2, 3, 64, 64)
    targets = [target([[1, 2, 30, 40]], [3]), target([], [])]
    expected = ssd_loss(*model(image), targets, ssd_anchors((64, 64)))
    with torch.autocast("cpu", torch.bfloat16):
        loss = ssd_loss(*model(image), targets, ssd_anchors((64, 64)))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)


# Finding


def planted(model, boxes, labels, scores, size):
    """Make `model` answer with these boxes at the first anchors, and background everywhere else."""
    anchors = ssd_anchors(size)
    offsets = torch.zeros(1, len(anchors), 4)
    logits = torch.zeros(1, len(anchors), len(model.classes))
    logits[..., 0] = 50
    for a, (box, label, score) in enumerate(zip(boxes, labels, scores, strict=True)):
        offsets[0, a] = encode(torch.tensor(box), anchors[a])
        p = torch.full((len(model.classes),), 1e-12)
        p[0], p[label] = 1 - score, score
        logits[0, a] = p.log()
    model.forward = lambda x: (offsets.expand(len(x), -1, -1), logits.expand(len(x), -1, -1))
    return model


BOXES = [[10.0, 20, 50, 60], [12.0, 20, 52, 60], [10.0, 20, 50, 60], [-20.0, 30, 30, 200], [-9.0, 5, -1, 8]]
LABELS, SCORES = [1, 1, 3, 2, 2], [0.9, 0.8, 0.7, 0.95, 0.99]


def test_find_returns_what_the_network_says():
    """The second box overlaps the first, the fourth is cut at the border, the fifth lies outside."""
    model = planted(tiny_detector(), BOXES, LABELS, SCORES, (64, 96))
    for found in model.find(torch.rand(2, 3, 64, 96), **RULES):
        expected = torch.tensor([[0.0, 30, 30, 64], BOXES[0], BOXES[2]])
        torch.testing.assert_close(found.boxes, expected, rtol=0, atol=1e-3)
        torch.testing.assert_close(found.scores, torch.tensor([0.95, 0.9, 0.7]))
        assert found.labels.tolist() == [2, 1, 3]
    (fewer,) = model.find(torch.rand(1, 3, 64, 96), min_score=0.92)
    assert fewer.labels.tolist() == [2]
    (all_of_them,) = model.find(torch.rand(1, 3, 64, 96), min_score=0.5, iou_threshold=1)
    assert all_of_them.labels.tolist() == [2, 1, 1, 3]
    (one_each,) = model.find(torch.rand(1, 3, 64, 96), min_score=0.5, iou_threshold=1, top_k=1)
    assert one_each.labels.tolist() == [1, 3]  # the best of class 2 is the one outside
    (nothing,) = model.find(torch.rand(1, 3, 64, 96), min_score=1)
    assert nothing.boxes.shape == (0, 4)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_detect_speaks_in_pixels_of_the_picture(mode):
    model = planted(tiny_detector(), [[80.0, 160, 240, 400]], [2], [0.75], (320, 320))
    model.classes = ("background", "cat", "dog", "owl")
    (detection,) = model.detect(Image.new(mode, (333, 100)))
    assert isinstance(detection, Detection)
    assert detection.label == "dog"
    assert detection.score == pytest.approx(0.75)
    assert detection.box == pytest.approx((80 / 320 * 333, 50, 240 / 320 * 333, 100), abs=1e-2)
    assert detection.box[3] <= 100
    assert model.detect(Image.new("RGB", (9, 5)), min_score=0.8) == []


def test_detect_turns_the_picture_upright_and_leaves_the_mode():
    model = planted(tiny_detector(), [[0.0, 0, 160, 320]], [1], [0.9], (320, 320))
    image = Image.new("RGB", (30, 20))
    image.getexif()[0x0112] = 6  # a quarter turn: upright it is 20 × 30
    model.train().backbone.layer_3.eval()
    modes = [m.training for m in model.modules()]
    answer, seen = model.forward, []
    model.forward = lambda x: seen.extend(m.training for m in model.modules()) or answer(x)
    (detection,) = model.detect(image)
    assert not any(seen)
    assert detection.box == pytest.approx((0, 0, 10, 30), abs=1e-3)
    assert [m.training for m in model.modules()] == modes


def test_a_detector_learns_to_find():
    """Red and blue squares on grey: after some steps each is found, named and enclosed."""
    model = SSDLite(tiny_model(num_classes=0, dropout=0), num_classes=3)
    model.classes, model.eval_transform = ("background", "red", "blue"), EvalTransform(64, 64)
    images = torch.full((4, 3, 64, 64), 0.5)
    squares = [[8, 8, 30, 30], [34, 30, 60, 56], [6, 32, 30, 56], [32, 4, 60, 32]]
    labels = [1, 2, 2, 1]
    for image, (x0, y0, x1, y1), label in zip(images, squares, labels, strict=True):
        image[:, y0:y1, x0:x1] = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])[label - 1][:, None, None]
    targets = [target([square], [label]) for square, label in zip(squares, labels, strict=True)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(110):
        loss = ssd_loss(*model(images), targets, ssd_anchors((64, 64)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for image, square, label in zip(images, squares, labels, strict=True):
        pixels = (image * 255).byte().permute(1, 2, 0).numpy()
        detections = model.detect(Image.fromarray(pixels), min_score=0.6)
        assert [d.label for d in detections] == [model.classes[label]]
        assert iou(torch.tensor(detections[0].box), torch.tensor(square)) > 0.8


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: SSDLite(nn.Conv2d(3, 8, 1)), TypeError, "MobileViT or MobileNetV2, got Conv2d"),
        (lambda: SSDLite(mobilevit_xxs(10)), ValueError, "num_classes=10.*num_classes=0"),
        (lambda: SSDLite(mobilevit_xxs(0, 16)), ValueError, "output_stride=16: expected 32"),
        (lambda: SSDLite(mobilevit_xxs(0), 1), ValueError, "num_classes=1: expected at least 2"),
    ],
)
def test_wrong_backbones_are_named(build, error, words):
    with pytest.raises(error, match=words):
        build()

"""PixelZoo: scenes that only (split, seed, index) decides, and pixels, boxes and masks that agree."""

import colorsys
import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from torch.utils.data import DataLoader

from mvit_lib.data import Key, PixelZoo, collate
from mvit_lib.data.pixelzoo import default_cache
from mvit_lib.data.zoo import backgrounds, cache
from mvit_lib.data.zoo.animals import ANIMALS
from mvit_lib.data.zoo.palettes import COLOURED
from mvit_lib.data.zoo.render import compose, draw_sprite, render
from mvit_lib.data.zoo.scenes import CLASSES, any_scene
from mvit_lib.data.zoo.shapes import ellipse, leaf, limb
from mvit_lib.look.figures.pixelzoo import fig_contact_sheet
from mvit_lib.transforms import Resize

SPLITS = ("train", "test", "shift")


def digest(split: str, indices: list[int]) -> dict[int, str]:
    pictures = {index: render(any_scene(split, 5, index, (1, 6)), 48, 64) for index in indices}
    return {
        index: hashlib.sha256(p.image.tobytes() + p.mask.tobytes() + p.boxes.tobytes()).hexdigest()
        for index, p in sorted(pictures.items())
    }


def area(outline: np.ndarray) -> float:
    return abs((outline.conj() * np.roll(outline, -1)).imag.sum()) / 2


def test_shapes_have_the_area_of_their_closed_form():
    assert area(ellipse(3, -1, 2.0, 0.5, 0.7, n=400)) == pytest.approx(np.pi, rel=1e-3)
    # A tube with round ends; four points on a half circle lose a little of it.
    stadium = 2 * 0.2 * 5 + np.pi * 0.2**2
    assert area(limb(((0, 0), (3, 4)), (0.2, 0.2))) == pytest.approx(stadium, rel=5e-3)
    # The mean of a half wave is 2/π.
    assert area(leaf((1, 1), (1, 4), 0.5)) == pytest.approx(3 * 0.5 * 2 / np.pi, rel=1e-2)


def test_a_scene_depends_on_no_process_and_no_order():
    code = "import json; from test_pixelzoo import digest; print(json.dumps(digest('test', [9, 2, 4])))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="tests"
    )
    there = {int(index): value for index, value in json.loads(done.stdout).items()}
    assert there == digest("test", [2, 4, 9]) == digest("test", [4, 9, 2])
    assert len(set(there.values())) == 3
    assert digest("train", [2]) != digest("test", [2])


def bounds_of(instances: np.ndarray, number: int) -> np.ndarray | None:
    rows, columns = np.nonzero(instances == number)
    if len(rows) == 0:
        return None
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_size_decides_only_the_rendering():
    """Boxes at 96 and 192 pixels; of covered animals now and then only the large picture shows a sliver."""
    free, covered = [], []
    for index in range(45):
        scene = any_scene("train", 0, index, (1, 6))
        small, large = compose(scene, 96, 96)[1], compose(scene, 192, 192)[1]
        for number, animal in enumerate(scene.animals, start=1):
            alone = replace(scene, animals=(animal,), foreground=())
            hidden = (compose(alone, 192, 192)[1] == 1).sum() - (large == number).sum()
            gap = np.abs(bounds_of(small, number) - bounds_of(large, number) / 2).max()
            (covered if hidden else free).append(gap)
    assert len(free) > 25
    assert max(free) <= 2
    assert len(covered) > 25
    assert np.mean(np.array(covered) <= 2) > 0.95


@given(st.integers(0, 10**6), st.sampled_from(SPLITS), st.integers(32, 150), st.integers(32, 150))
@settings(max_examples=40)
def test_image_mask_and_boxes_agree_to_the_pixel(index, split, height, width):
    scene = any_scene(split, 1, index, (1, 6))
    picture, instances = render(scene, height, width), compose(scene, height, width)[1]
    assert picture.image.size == (width, height)
    found = [(k, bounds_of(instances, k)) for k in range(1, len(scene.animals) + 1)]
    found = [(k, box) for k, box in found if box is not None]
    assert picture.boxes.tolist() == [box.tolist() for _, box in found]
    assert picture.labels.tolist() == [scene.labels[k - 1] + 1 for k, _ in found]
    expected = np.zeros((height, width), dtype=int)
    for k, _ in found:
        expected[instances == k] = scene.labels[k - 1] + 1
    assert (picture.mask == expected).all()


def test_a_pixel_belongs_to_the_animal_of_which_it_shows_half():
    """Against the visible share of every layer, computed from the top down."""
    for index in range(12):
        scene = any_scene("train", 2, index, (3, 6))
        sprites = (*scene.animals, *scene.foreground)
        clear, shares = np.ones((80, 80)), np.zeros((len(sprites), 80, 80))
        for k in reversed(range(len(sprites))):
            region, _, alpha = draw_sprite(sprites[k], 80, 80)
            shares[k][region] = alpha * clear[region]
            clear[region] *= 1 - alpha
        owner = np.where(shares.max(0) >= 0.5, shares.argmax(0) + 1, 0)
        owner[owner > len(scene.animals)] = 0
        undecided = np.abs(shares - 0.5).min(0) < 1e-5
        assert ((compose(scene, 80, 80)[1] == owner) | undecided).all()


def test_enough_of_every_animal_is_inside_and_visible():
    for split in SPLITS:
        for index in range(30):
            scene = any_scene(split, 4, index, (1, 6))
            instances = compose(scene, 128, 128)[1]
            for number, animal in enumerate(scene.animals, start=1):
                alone = (draw_sprite(animal, 128, 128)[2] >= 0.5).sum()
                roomy = replace(animal, x=0.5, y=0.5, scale=animal.scale / 2)
                whole = (draw_sprite(roomy, 256, 256)[2] >= 0.5).sum()
                assert alone >= 0.8 * whole, (split, index, number)
                assert (instances == number).sum() >= 0.7 * alone, (split, index, number)


def test_numbers_scales_turns_and_flips_use_their_whole_range():
    for animals in ((1, 1), (1, 6)):
        scenes = [any_scene("train", 0, index, animals) for index in range(220)]
        assert {len(scene.animals) for scene in scenes} == set(range(animals[0], animals[1] + 1))
        everyone = [animal for scene in scenes for animal in scene.animals]
        scales = np.array([animal.scale for animal in everyone])
        angles = np.array([animal.angle for animal in everyone])
        assert 0.15 <= scales.min() < 0.18 and 0.8 < scales.max() <= 0.85
        assert -30 <= angles.min() < -27 and 27 < angles.max() <= 30
        assert 0.4 < np.mean([animal.flipped for animal in everyone]) < 0.6
        places = np.array([(animal.x, animal.y) for animal in everyone])
        assert (places.min(0) < 0.15).all() and (places.max(0) > 0.85).all()
    assert {len(any_scene("test", 0, index, (4, 4)).animals) for index in range(20)} == {4}


def test_the_scale_is_the_longer_side_as_a_share_of_the_picture():
    for index in range(10):
        (animal,) = any_scene("train", 0, index, (1, 1)).animals
        upright = replace(animal, angle=0.0, x=0.5, y=0.5)
        alpha = draw_sprite(upright, 200, 200)[2]
        rows, columns = np.nonzero(alpha.any(1))[0], np.nonzero(alpha.any(0))[0]
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        assert longer == pytest.approx(200 * animal.scale, abs=2)


def test_wide_pictures_keep_the_shape_of_animals():
    scene = any_scene("train", 0, 3, (1, 1))
    square = render(scene, 64, 64)
    for height, width in ((64, 150), (150, 64)):
        box, other = render(scene, height, width).boxes[0], square.boxes[0]
        assert np.abs((box[2:] - box[:2]) - (other[2:] - other[:2])).max() <= 1


def hues_of(split: str) -> np.ndarray:
    hues = []
    for index in range(80):
        scene = any_scene(split, 0, index, (1, 3))
        for sprite in (*scene.animals, *scene.foreground):
            colours = np.array([sprite.palette[role] for role in COLOURED]) / 255
            hues += [colorsys.rgb_to_hls(*colour)[0] for colour in colours]
    return np.array(hues)


def test_shift_has_hues_that_train_and_test_never_show():
    seen, unseen = np.concatenate([hues_of("train"), hues_of("test")]), hues_of("shift")
    turn = np.abs(seen[:, None] - unseen[None])
    assert np.minimum(turn, 1 - turn).min() > 0.01


def test_backgrounds_of_the_splits_are_disjoint():
    shown = {
        split: [any_scene(split, 0, index, (1, 1)).background for index in range(200)] for split in SPLITS
    }
    photos = {s: {b.family for b in shown[s] if b.region is not None} for s in SPLITS}
    textures = {s: {b.family for b in shown[s] if b.region is None} for s in SPLITS}
    assert photos["train"] == photos["test"] and textures["train"] == textures["test"]
    assert len(photos["train"]) == len(textures["train"]) == 5
    assert not photos["shift"] & photos["train"] and not textures["shift"] & textures["train"]
    left, right = ([b.region for b in shown[s] if b.region is not None] for s in ("train", "test"))
    assert max(region[2] for region in left) < min(region[0] for region in right)
    for region in (b.region for split in SPLITS for b in shown[split] if b.region is not None):
        assert min(region) >= 0 and max(region) <= 1 + 1e-9


def test_classes_are_alphabetical_and_balanced():
    assert CLASSES == tuple(sorted(CLASSES)) == tuple(ANIMALS) == PixelZoo.classes
    labels = [any_scene("test", 3, index, (1, 1)).labels[0] for index in range(50)]
    assert all(sorted(labels[k : k + 10]) == list(range(10)) for k in range(0, 50, 10))
    assert labels[:10] != labels[10:20]
    crowd = [label for index in range(150) for label in any_scene("train", 0, index, (1, 6)).labels]
    assert np.bincount(crowd, minlength=10).min() > 0.7 * len(crowd) / 10


def test_colour_does_not_tell_the_class():
    """Nearest class mean of the mean colour of the animal, of the picture: ten classes, chance is 0.1."""
    features, labels = [], []
    for index in range(500):
        scene = any_scene("train", 6, index, (1, 1))
        picture = render(scene, 32, 32)
        pixels = np.asarray(picture.image, dtype=float)
        features.append([*pixels[picture.mask > 0].mean(0), *pixels.mean((0, 1))])
        labels.append(scene.labels[0])
    features, labels = np.array(features), np.array(labels)
    means = np.stack([features[:300][labels[:300] == k].mean(0) for k in range(10)])
    for part in (slice(0, 3), slice(3, 6)):
        distance = ((features[300:, None, part] - means[None, :, part]) ** 2).sum(-1)
        assert np.mean(distance.argmin(1) == labels[300:]) < 0.22


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_the_cache_holds_what_is_drawn_bit_for_bit(tmp_path, task):
    direct = PixelZoo("test", task=task, length=40, size=(48, 56))
    cached = PixelZoo("test", task=task, length=40, size=(48, 56), cache=tmp_path)
    copy = pickle.loads(pickle.dumps(cached))
    assert len(pickle.dumps(cached)) < 2000
    batches = DataLoader(copy, batch_size=10, num_workers=2, collate_fn=collate(task))
    images = [image for batch in batches for image in batch[0]]
    for index in range(40):
        (image, target), (expected, wanted) = cached[index], direct[index]
        assert (image == expected).all() and (images[index] == expected).all()
        if task == "detect":
            assert all((target[name] == wanted[name]).all() for name in ("boxes", "labels", "crowd"))
            assert target["original_size"] == (48, 56)
        else:
            assert np.array_equal(target, wanted)
    assert len(pickle.dumps(cached)) < 2000
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == [f"v{cache.VERSION}"]


def test_what_a_cache_is_asked_for_at_another_size_is_drawn_or_transformed(tmp_path):
    key = Key(2, 64, 80, 0)
    plain = PixelZoo("train", length=3, size=40, cache=tmp_path)
    assert (plain[key][0] == PixelZoo("train", length=3)[key][0]).all()
    resized = PixelZoo("train", length=3, size=40, cache=tmp_path, transform=Resize())
    uncached = PixelZoo("train", length=3, size=40, transform=Resize())
    assert resized[key][0].shape == (3, 64, 80)
    assert (resized[key][0] == uncached[key][0]).all()
    assert not (resized[key][0] == plain[key][0]).all()


def test_different_series_have_different_caches(tmp_path):
    one = {"split": "train", "seed": 0, "animals": (1, 6), "length": 3, "size": (32, 32)}
    others = (
        {"split": "test"}, {"seed": 1}, {"animals": (1, 1)}, {"length": 4}, {"size": (32, 33)},
        {"scales": (0.2, 0.85)}, {"scales": (0.15, 0.5)},
    )  # fmt: skip
    names = {cache.Series(**(one | change)).name for change in ({}, *others)}
    assert len(names) == 8


def test_a_killed_draw_leaves_no_half_cache(tmp_path):
    code = f"from mvit_lib.data import PixelZoo; PixelZoo('train', length=3000, cache={str(tmp_path)!r})"
    drawing = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/images.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(drawing.pid, signal.SIGKILL)
    drawing.wait()
    left = list(tmp_path.iterdir())
    assert len(left) == 1 and left[0].name.startswith("unfinished")
    os.utime(left[0], (0, 0))
    again = PixelZoo("train", length=2, size=32, cache=tmp_path)
    assert not left[0].exists()
    assert (again[1][0] == PixelZoo("train", length=2, size=32)[1][0]).all()
    assert not (tmp_path / cache.Series("train", 0, (1, 1), 3000, (128, 128)).name).exists()


def test_of_two_draws_at_once_the_slower_one_uses_the_work_of_the_faster(tmp_path, monkeypatch):
    publish = cache._publish

    def overtaken(unfinished, folder):
        monkeypatch.setattr(cache, "_publish", publish)
        PixelZoo("train", length=2, size=32, cache=tmp_path)
        publish(unfinished, folder)

    monkeypatch.setattr(cache, "_publish", overtaken)
    zoo = PixelZoo("train", length=2, size=32, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert (zoo[0][0] == PixelZoo("train", length=2, size=32)[0][0]).all()


def test_the_default_cache_is_in_the_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MVIT_DATA", str(tmp_path))
    assert default_cache() == tmp_path / "pixelzoo"
    PixelZoo("shift", length=1, size=32, cache=True)
    assert len(list((tmp_path / "pixelzoo").iterdir())) == 1
    monkeypatch.delenv("MVIT_DATA")
    assert default_cache().parts[-3:] == (".cache", "mvit", "pixelzoo")


# By VERSION and split, over 20 scenes at 64 pixels: the sum of all |points|, of all palettes' levels, the
# share of pixels that belong to animals, and the mean level. New pixels need a new VERSION.
FINGERPRINTS = {
    3: {
        "train": (31424.75048828764, 431789, 0.236011, 125.7067),
        "test": (25131.514316668497, 362968, 0.213428, 132.4022),
        "shift": (26907.082705577708, 406839, 0.217297, 148.1434),
    },
}


def fingerprint(split: str) -> tuple[float, int, float, float]:
    scenes = [any_scene(split, 0, index, (1, 6)) for index in range(20)]
    pictures = [render(scene, 64, 64) for scene in scenes]
    sprites = [sprite for scene in scenes for sprite in (*scene.animals, *scene.foreground)]
    points = sum(np.abs(sprite.place(1, 1)).sum() for sprite in sprites)
    levels = sum(level for sprite in sprites for colour in sprite.palette.values() for level in colour)
    share = np.mean([picture.mask > 0 for picture in pictures])
    return points, levels, share, np.mean([np.asarray(picture.image) for picture in pictures])


def test_pixels_only_change_with_the_version():
    """With room for what other versions of Pillow decode and rasterise differently."""
    for split in SPLITS:
        points, levels, share, mean = FINGERPRINTS[cache.VERSION][split]
        found = fingerprint(split)
        assert found[0] == pytest.approx(points, rel=1e-9)
        assert found[1] == levels
        assert found[2] == pytest.approx(share, rel=2e-3)
        assert found[3] == pytest.approx(mean, abs=0.05)


def test_scales_say_how_large_the_animals_are_and_change_nothing_else():
    every = PixelZoo("train", length=40)
    large = PixelZoo("train", length=40, scales=(0.6, 0.8))
    scales = [large.scene(i).animals[0].scale for i in range(40)]
    assert 0.5 < min(scales) < 0.66 and 0.74 < max(scales) <= 0.8  # one that finds no place shrinks a little
    for i in range(40):
        one, other = every.scene(i), large.scene(i)
        assert one.labels == other.labels and one.light == other.light
        assert (one.background.numbers == other.background.numbers).all()


def test_bad_arguments_are_named():
    for arguments, message in (
        ({"scales": (0.1, 0.5)}, r"scales=\(0.1, 0.5\)"),
        ({"scales": (0.5, 0.4)}, r"scales=\(0.5, 0.4\)"),
        ({"split": "val"}, "split='val'"),
        ({"task": "count"}, "task='count'"),
        ({"length": 0}, "length=0"),
        ({"seed": -1}, "seed=-1"),
        ({"size": 31}, "size must be at least 32"),
        ({"task": "detect", "animals": (3, 2)}, "animals=\\(3, 2\\)"),
        ({"task": "detect", "animals": (1, 7)}, "animals=\\(1, 7\\)"),
        ({"task": "detect", "animals": (0, 2)}, "animals"),
        ({"animals": (1, 2)}, "one animal"),
    ):
        with pytest.raises(ValueError, match=message):
            PixelZoo(**arguments)
    zoo = PixelZoo(length=5, size=32)
    for index in (5, -6):
        with pytest.raises(IndexError, match="dataset of 5"):
            zoo[index]
    with pytest.raises(IndexError, match="index 5"):
        zoo.scene(5)


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch):
    backgrounds.photo.cache_clear()
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-image"):
        backgrounds.photo("coffee")


def test_defaults_follow_the_task():
    assert [len(PixelZoo(split)) for split in SPLITS] == [10_000, 1_000, 1_000]
    assert PixelZoo().animals == (1, 1)
    assert PixelZoo(task="segment").animals == (1, 6)
    assert PixelZoo(task="detect", animals=2).animals == (2, 2)
    image, label = PixelZoo(seed=3)[-1]
    assert image.shape == (3, 128, 128) and label == PixelZoo(seed=3).scene(9_999).labels[0]
    _, target = PixelZoo(task="detect", size=64)[random.Random(0).randrange(10_000)]
    assert target["labels"].min() >= 1 and target["labels"].max() <= 10
    _, mask = PixelZoo(task="segment")[Key(0, 33, 47, 0)]
    assert mask.shape == (33, 47) and mask.max() <= 10


def test_the_contact_sheet_shows_every_class_in_its_column():
    figure, sheet = fig_contact_sheet("shift", rows=2, least_scale=0.6)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    plt.close(figure)
    assert titles == list(CLASSES)
    assert len(figure.axes) == 2 * 10 + len(sheet.crowded)
    for row in sheet.indices.tolist():
        animals = [any_scene("shift", 0, index, (1, 1)).animals[0] for index in row]
        assert [animal.label for animal in animals] == list(range(10))
        assert min(animal.scale for animal in animals) >= 0.6
    for arguments, message in (({"rows": 0}, "rows=0"), ({"least_scale": 0.9}, "least_scale=0.9")):
        with pytest.raises(ValueError, match=message):
            fig_contact_sheet(**arguments)

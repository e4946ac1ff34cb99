"""The tables that notebooks draw: counts against our own, sums, sources; the measured ones are whole."""

from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
import runs
from torch import nn

from mvit_lib.cost import Cost, mobilevit_cost
from mvit_lib.course.tables import load_runs, load_table
from mvit_lib.mobilevit import XS, XXS, S

CONFIGS = {"XXS": XXS, "XS": XS, "S": S}
TOTALS = {"XXS": (1_272_024, 407_364_096), "XS": (2_317_848, 1_025_911_808), "S": (5_578_632, 2_000_831_488)}
TABLES = (
    "coco_detection",
    "imagenet",
    "mobilevit_counts",
    "mobilevit_gmacs",
    "on_an_iphone",
    "published_gmacs",
    "voc_segmentation",
)


@pytest.fixture
def against_vit(monkeypatch):
    """The script that measures; benchmarks/ is no package."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    return import_module("against_vit")


@pytest.mark.parametrize("name", TABLES)
def test_every_published_number_names_its_source(name):
    rows = load_table(name)
    assert rows
    assert all(row["source"] for row in rows)
    assert all(set(row) == set(rows[0]) for row in rows)


@pytest.mark.parametrize("size", CONFIGS)
def test_recorded_counts_add_up_and_are_ours(size):
    rows = [row for row in load_table("mobilevit_counts") if row["size"] == size]
    assert tuple(sum(row[kind] for row in rows) for kind in ("parameters", "macs")) == TOTALS[size]
    costs = mobilevit_cost(CONFIGS[size], 256)
    for row in rows:
        parts = (cost for name, cost in costs.items() if name.split(".")[0] == row["part"])
        assert sum(parts, Cost()) == Cost(row["parameters"], row["macs"]), row["part"]


def test_recorded_macs_at_other_sizes_are_ours_to_four_digits():
    rows = load_table("mobilevit_gmacs")
    assert {(row["side"], row["size"]) for row in rows} == set(
        product((160, 192, 224, 256, 288, 320, 512), CONFIGS)
    )
    for row in rows:
        ours = sum(mobilevit_cost(CONFIGS[row["size"]], row["side"]).values(), Cost()).macs / 1e9
        assert ours == pytest.approx(row["gmacs"], abs=5.1e-5), row


def test_published_macs_that_count_the_attention_are_near_ours():
    """timm counts all there is; the others leave out attention, or count it linear in N."""
    for row in load_table("published_gmacs"):
        ours = sum(mobilevit_cost(CONFIGS[row["size"]], row["side"]).values(), Cost()).macs / 1e9
        tolerance = 0.04 if row["publisher"] == "timm" else 0.2
        assert row["gmacs"] == pytest.approx(ours, rel=tolerance), row


def test_the_papers_tables_agree_with_each_other():
    rows = load_table("imagenet")
    own = {
        row["model"]: (row["params_m"], row["top1"]) for row in rows if row["model"].startswith("MobileViT")
    }
    for name, (millions, _) in own.items():
        exact = TOTALS[name.removeprefix("MobileViT-")][0]
        assert millions == round(exact / 1e6, 1)
    assert len({(r["model"], r["params_m"], r["top1"]) for r in rows if "ViT-" in r["model"]}) == 3
    phone = {(row["model"], row["patches"]): row for row in load_table("on_an_iphone")}
    for model in ("DeiT", "PiT"):
        twin = {
            (r["params_m"], r["top1"]) for r in rows if (r["model"], r["augmentation"]) == (model, "advanced")
        }
        assert (phone[model, ""]["params_m"], phone[model, ""]["top1"]) in twin
    assert own["MobileViT-XS"] == (phone["MobileViT-XS", "2 2 2"]["params_m"], 74.8)


def test_the_recorded_times_are_whole_and_name_their_machine(against_vit):
    rows = load_table("latency_against_vit")
    assert [(row["side"], row["network"]) for row in rows] == list(
        product(against_vit.SIDES, ("DeiT-Ti", "XXS", "XS", "S"))
    )
    for row in rows:
        assert row["ms"] > 0
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["machine"]
        assert row["command"] == "make bench ARGS=--vit"
        if row["network"] == "DeiT-Ti":
            assert row["ratio"] == 1


def test_measuring_gives_a_row_per_network_and_side(against_vit, monkeypatch):
    networks = {"DeiT-Ti": nn.Conv2d(3, 8, 3), "XXS": nn.Identity()}
    monkeypatch.setattr(against_vit, "networks", lambda side: networks)
    rows = against_vit.measure(sides=(8, 16), rounds=3)
    assert [(row["side"], row["network"]) for row in rows] == list(product((8, 16), networks))
    assert all(row["ratio"] == 1 for row in rows if row["network"] == "DeiT-Ti")


def test_the_networks_measured_are_what_they_are_called(against_vit):
    found = against_vit.networks(64)
    parameters = {name: sum(p.numel() for p in model.parameters()) for name, model in found.items()}
    norms = {
        name: sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) for name, model in found.items()
    }
    assert list(parameters) == ["DeiT-Ti", "XXS", "XS", "S"]
    assert parameters["DeiT-Ti"] == 5_717_416 - (196 - 16) * 192  # fewer positions at 64 pixels
    assert not any(norms.values())  # folded
    assert not any(model.training for model in found.values())


def test_an_unknown_table_is_named():
    with pytest.raises(FileNotFoundError, match=r"'nothing'.*imagenet"):
        load_table("nothing")


def test_recorded_trainings_are_read_like_tables():
    path = runs.FOLDER / "two_marks.csv"
    rows = load_runs("two_marks")
    assert [{key: str(value) for key, value in row.items()} for row in rows] == runs.recorded(path)
    assert {type(row["accuracy"]) for row in rows} == {float}
    assert load_runs("nothing recorded yet") == []


def test_values_are_numbers_where_they_look_like_it():
    row = next(row for row in load_table("on_an_iphone") if row["model"] == "MobileViT-XS")
    assert row["patches"] == "2 2 2"
    assert row["ms"] == 7.28
    counts = load_table("mobilevit_counts")[0]
    assert isinstance(counts["macs"], int)

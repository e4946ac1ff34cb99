"""What a training shows: lines in a log, bar and live curve in a notebook; stopping the cell keeps all."""

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.manager import start_new_kernel
from tiny import Colours, tiny_model, tiny_recipe

from mvit_lib.train import fit
from mvit_lib.train.progress import History, loss_svg, smooth

HERE = Path(__file__).parent
FIT = "from tiny import *; from mvit_lib.train import fit; "


@given(st.lists(st.floats(0, 100), min_size=1, max_size=1000))
def test_the_curve_is_a_drawing_that_any_browser_reads_and_stays_inside_its_frame(losses):
    drawing = ElementTree.fromstring(loss_svg(losses))
    points = drawing.find("polyline").get("points").split()
    assert len(points) == min(200, len(losses))
    for point in points:
        x, y = map(float, point.split(","))
        assert 0 <= x <= 480 and 0 <= y <= 160
    assert f"step {len(losses)}" in "".join(drawing.itertext())


@given(st.lists(st.floats(0, 100), min_size=1, max_size=400))
def test_smoothing_keeps_the_mean_of_equal_stretches(losses):
    means = smooth(losses, points=200)
    if len(losses) <= 200:
        assert means == pytest.approx(losses)
    assert min(losses) - 1e-9 <= min(means) and max(means) <= max(losses) + 1e-9


def test_an_empty_history_says_so_and_a_row_without_validation_is_shown():
    assert str(History()) == "no epoch finished"
    row = {"epoch": 1, "images": 30, "seconds": 2.0, "loss": 0.5}
    assert str(History([row])) == "epoch 1   loss 0.500   15 images/s"


def test_a_log_gets_a_line_per_epoch_and_nothing_on_stderr():
    env = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    code = FIT + "fit(tiny_model(), Colours(), tiny_recipe(), val_data=Colours(30, 1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stderr == ""
    assert [line.split("   ")[0] for line in done.stdout.splitlines()] == ["epoch 1", "epoch 2", "epoch 3"]


def test_quiet_shows_nothing(capsys):
    fit(tiny_model(), Colours(24), tiny_recipe(epochs=2, warmup_steps=1), quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def kernel():
    manager, client = start_new_kernel(env=os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"})
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def messages_until_idle(client, on_message=lambda message: None) -> list[dict]:
    seen = []
    while True:
        message = client.get_iopub_msg(timeout=60)
        seen.append(message)
        on_message(message)
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return seen


def test_in_a_notebook_the_curve_grows_and_stopping_the_cell_keeps_everything(kernel):
    manager, client = kernel
    curves, interrupted = [], []

    def watch(message):
        state = (
            message["content"].get("data", {}).get("state", {}) if message["msg_type"] == "comm_msg" else {}
        )
        if "<svg" in str(state.get("value")):
            curves.append(state["value"])
        if len(curves) >= 2 and not interrupted:
            interrupted.append(time.monotonic())
            manager.interrupt_kernel()

    client.execute(FIT + "history = fit(tiny_model(), Colours(), tiny_recipe(epochs=1000))")
    seen = messages_until_idle(client, watch)
    assert time.monotonic() - interrupted[0] < 10
    assert not [m for m in seen if m["msg_type"] == "error"]
    steps = [int(re.search(r"step (\d+)", curve)[1]) for curve in curves]
    assert steps == sorted(steps) and steps[-1] > steps[0]
    client.execute("print(history.stopped, len(history.losses))")
    text = "".join(m["content"].get("text", "") for m in messages_until_idle(client))
    assert text.split() == ["True", str(steps[-1])]

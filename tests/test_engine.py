"""The engine under the exercises: limits, forbidden calls, provenance, progress."""

import json
import signal
import threading
import time

import pytest
import torch
from torch.nn import functional as F

from mvit_lib.course import check, engine, guard, hint, progress, solved
from mvit_lib.course.picture import as_table, fig_side_by_side
from mvit_lib.course.probes import (
    Wrong,
    agrees,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    numbered,
)
from mvit_lib.patches import unfold_patches


def double(x):
    return 2 * x


DOUBLE = engine.Exercise(
    checker=lambda f: agrees(f, lambda x: torch.matmul(x, 2 * torch.eye(3)), torch.ones(2, 3)),
    notice="Twice.",
    hints=("one", "two", "three"),
    solution=("s00_start_here.py", "partners"),
    symptoms={"must match": "Did you write 2 × 2?"},
    forbidden=("matmul", "unfold", "mvit_lib"),
)


@pytest.fixture(autouse=True)
def only_this_exercise(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "exercises", lambda: {"99.1": DOUBLE, "99.2": DOUBLE})
    monkeypatch.setattr(solved, "_in_memory", {})
    monkeypatch.setenv("MVIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# Limits


@pytest.mark.parametrize("wait", ["loop", "sleep"])
def test_an_endless_function_is_stopped_and_the_notebook_lives_on(wait, monkeypatch, capsys):
    monkeypatch.setattr(engine, "time_limit", lambda: guard.time_limit(0.3))

    def endless(x):
        while True:
            if wait == "sleep":
                time.sleep(60)

    start = time.monotonic()
    check("99.1", endless)
    assert time.monotonic() - start < 5
    said = capsys.readouterr().out
    assert "✗  it ran for more than 0.3 s and was stopped: is there a loop that never ends?" in said
    check("99.1", double)
    assert "✓" in capsys.readouterr().out


def test_the_limit_holds_where_interrupts_are_ignored(monkeypatch, capsys):
    """As in a kernel whose server was started in the background with nohup."""
    monkeypatch.setattr(engine, "time_limit", lambda: guard.time_limit(0.3))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        check("99.1", lambda x: time.sleep(3))
        assert "it ran for more than 0.3 s" in capsys.readouterr().out
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_waiting_for_a_turn_is_not_running(monkeypatch, capsys):
    """On a busy machine the clock runs on while the function stands still."""
    monkeypatch.setattr(engine, "time_limit", lambda: guard.time_limit(0.3))

    def late(x):
        time.sleep(0.5)
        return double(x)

    check("99.1", late)
    assert "✓" in capsys.readouterr().out


def test_the_limit_is_ten_seconds():
    assert guard.SECONDS == 10


def test_the_learners_own_interrupt_is_theirs():
    def stop(x):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        check("99.1", stop)


def test_checks_work_outside_the_main_thread(capsys):
    thread = threading.Thread(target=check, args=("99.1", double))
    thread.start()
    thread.join()
    assert "99.1  ✓" in capsys.readouterr().out


# Forbidden calls


def names_noted(call, forbidden):
    with guard.calls_noted(forbidden) as found:
        call()
    return found


IMAGE = torch.rand(1, 4, 4, 4)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: F.unfold(IMAGE, 2), "unfold"),
        (lambda: IMAGE.unfold(2, 2, 2), "unfold"),
        (lambda: torch.matmul(IMAGE, IMAGE), "matmul"),
        (lambda: IMAGE.matmul(IMAGE), "matmul"),
        (lambda: torch.nn.Unfold(2)(IMAGE), "unfold"),
        (lambda: unfold_patches(IMAGE, (2, 2)), "unfold_patches"),
        (lambda: F.pixel_unshuffle(IMAGE, 2), "pixel_unshuffle"),
        (lambda: torch.einsum("bchw->bc", IMAGE), "einsum"),
    ],
)
def test_a_library_call_is_noted_however_it_is_reached(call, name):
    assert names_noted(call, (name,)) == [name]


def test_the_whole_library_can_be_forbidden_and_own_names_are_free():
    assert names_noted(lambda: unfold_patches(IMAGE, (2, 2)), ("mvit_lib",)) == ["mvit_lib"]

    def unfold(x):
        return x

    assert names_noted(lambda: unfold(IMAGE), ("unfold", "mvit_lib")) == []


def test_a_right_answer_by_a_forbidden_call_is_no_answer(capsys):
    check("99.1", lambda x: torch.matmul(x, 2 * torch.eye(3)))
    assert "the values are right, but `matmul` does what you are to build" in capsys.readouterr().out
    check(
        "99.1",
        lambda x: (
            torch.matmul(unfold_patches(x[None, None], (1, 1))[0, 0, :, 0].view(2, 3), torch.eye(3)) * 2
        ),
    )
    assert "`mvit_lib` and `matmul` do what you are to build" in capsys.readouterr().out
    check("99.1", lambda x: x + x)
    assert "✓" in capsys.readouterr().out


# Probes


def message(probe, *arguments, **options) -> str:
    with pytest.raises(Wrong) as caught:
        probe(*arguments, **options)
    return str(caught.value)


def transposed(x):
    return x.transpose(0, 1).contiguous()


def test_a_wrong_place_is_told_by_where_the_element_came_from():
    said = message(
        moves_like,
        lambda x: x.reshape(3, 2),
        transposed,
        (2, 3),
        suspects={"Did you reshape?": lambda x: x.reshape(3, 2)},
    )
    assert "out[0, 1] holds the element from [0, 1]; expected the element from [1, 0]." in said
    assert "4 of 6 elements" in said and said.endswith("Did you reshape?")
    said = message(moves_like, lambda x: transposed(x) + 0.5, transposed, (2, 3))
    assert "holds 1.5, which is none of the input's elements" in said
    said = message(moves_like, lambda x: torch.zeros(3, 2), transposed, (2, 3))
    assert "holds 0, which is none of the input's elements; expected the element from [0, 0]" in said


def test_a_known_mistake_is_asked_about_even_where_its_shape_is_wrong():
    suspects = {"Did you keep the input?": lambda x: x}
    for probe, argument in ((moves_like, (2, 3)), (agrees, torch.rand(2, 3))):
        said = message(probe, lambda x: x, transposed, argument, suspects=suspects)
        assert said.endswith("has shape [2, 3], expected [3, 2]\n      Did you keep the input?")


def test_no_return_no_tensor_and_a_wrong_shape_are_named():
    assert "did you forget `return`" in message(moves_like, lambda x: None, transposed, (2, 3))
    assert "expected a tensor, got list" in message(moves_like, lambda x: [1], transposed, (2, 3))
    assert "has shape [2, 3], expected [3, 2]" in message(moves_like, lambda x: x, transposed, (2, 3))


def test_a_wrong_value_is_told_with_its_place():
    def one_wrong(x):
        return 2 * x + torch.eye(2)

    said = message(agrees, one_wrong, double, torch.zeros(2, 2))
    assert "largest difference is 1" in said and "out[0, 0] is 1; expected 0." in said
    agrees(lambda x: x + x, double, torch.rand(2, 2))


def test_not_a_number_is_not_right():
    assert "out[0] is nan" in message(agrees, lambda x: x * torch.nan, double, torch.ones(2))


def test_what_a_function_may_not_do_to_its_surroundings():
    assert "changes its first argument" in message(leaves_alone, lambda x: x.mul_(2), torch.ones(2))
    assert "changes its second argument" in message(leaves_alone, lambda x, y: y.add_(1), 3, torch.ones(2))
    leaves_alone(double, torch.ones(2))
    assert "returns torch.float32" in message(keeps_dtype, lambda x: torch.zeros(2), torch.ones(2))
    keeps_dtype(double, torch.ones(2))
    assert "no gradient" in message(lets_gradient_flow, lambda x: torch.tensor(x.tolist()), torch.ones(2))
    assert "no gradient" in message(lets_gradient_flow, lambda x, y: x, torch.ones(2), torch.ones(2))
    lets_gradient_flow(double, torch.ones(2))


def test_numbered_tensors_count():
    assert torch.equal(numbered(2, 3), torch.tensor([[0.0, 1, 2], [3, 4, 5]]))


# Hints, progress, the picture


def test_an_error_message_is_explained_where_it_happens_and_on_request(capsys):
    def crash(x):
        raise RuntimeError("sizes must match here")

    check("99.1", crash)
    assert "RuntimeError: sizes must match here\n      Did you write 2 × 2?" in capsys.readouterr().out
    hint("99.1", "RuntimeError: sizes must match at dimension 1")
    assert capsys.readouterr().out == "Did you write 2 × 2?\n"
    hint("99.1", "match")
    assert capsys.readouterr().out == "Did you write 2 × 2?\n"
    hint("99.1", "something else")
    assert '"must match"' in capsys.readouterr().out


def test_progress_is_kept_between_sessions_and_a_solved_exercise_stays_solved(
    only_this_exercise, capsys, monkeypatch
):
    check("99.2", lambda x: x)
    check("99.1", double)
    monkeypatch.setattr(solved, "_in_memory", {})  # a new session
    check("99.1", lambda x: x)
    capsys.readouterr()
    progress()
    assert capsys.readouterr().out == "99  ●◐   1 of 2\n"
    stored = json.loads((only_this_exercise / "progress.json").read_text())
    assert stored == {"99.1": True, "99.2": False}


def test_looking_without_trying_leaves_no_trace(only_this_exercise, capsys):
    def stub(x):
        raise NotImplementedError

    check("99.1", stub)
    progress()
    assert "99  ○○   0 of 2" in capsys.readouterr().out
    assert not only_this_exercise.exists()


@pytest.mark.parametrize("content", ["", "[1, 2]", "{cut", '{"99.1": "yes"}'])
def test_progress_survives_a_folder_that_cannot_be_written_and_a_broken_file(
    content, tmp_path, monkeypatch, capsys
):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("MVIT_HOME", str(blocked))
    check("99.1", double)
    progress()
    assert "99  ●○   1 of 2" in capsys.readouterr().out
    home = tmp_path / "broken"
    home.mkdir()
    (home / "progress.json").write_text(content)
    monkeypatch.setenv("MVIT_HOME", str(home))
    check("99.2", double)
    assert solved.solved()["99.2"] is True


def test_the_picture_frames_what_differs():
    yours, expected = torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)
    yours[1, 0, 2] = 1
    figure, data = fig_side_by_side(yours, expected)
    assert data["wrong"].nonzero().tolist() == [[2, 2]]
    assert [ax.get_title() for ax in figure.axes] == ["yours", "expected"]
    assert len(figure.axes[0].patches) == 1
    assert as_table(torch.zeros(100, 100)).shape == (24, 24)
    assert as_table(torch.tensor(3.0)).shape == (1, 1)

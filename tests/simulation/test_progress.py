"""The progress display: what is done, how far, and nothing where it is not wanted."""

import pytest

from thyroid_fl.simulation.progress import Progress


def test_pictures_and_replies_are_counted_on_stderr(capsys):
    with Progress(enabled=True) as shown:
        shown.counter("preparing pictures")(7, 9)
        shown.plan(10)
        shown.step("federated-fedavg")
        shown.replies(1)
        shown.replies(2)

    printed = capsys.readouterr()
    assert printed.out == ""
    step, pictures, replies = printed.err.splitlines()
    assert step == "0/10 federated-fedavg"  # a log file has no bars
    assert pictures.startswith("preparing pictures")
    assert "7/9" in pictures
    assert replies.startswith("federated-fedavg")
    assert " 3/10" in replies


def test_what_was_trained_before_is_not_waited_for(capsys):
    with Progress(enabled=True) as shown:
        shown.plan(10)
        shown.skip(4)
        shown.replies(6)

    assert " 6/6" in capsys.readouterr().err


def test_nothing_is_shown_where_it_is_not_wanted(capsys):
    with Progress(enabled=False) as shown:
        shown.counter("preparing pictures")(1, 2)
        shown.plan(10)
        shown.replies(1)
        shown.step("evaluating")

    assert capsys.readouterr() == ("", "")


def interrupted(shown):
    with shown:
        shown.counter("drawing pictures")(5, 20)
        raise KeyboardInterrupt


def test_the_display_ends_with_its_work(capsys):
    with pytest.raises(KeyboardInterrupt):
        interrupted(Progress(enabled=True))

    assert "5/20" in capsys.readouterr().err

"""Training on Lightning: the plateau, checkpoints, interruptions, and errors."""

import signal

import pytest
import torch

pytest.importorskip("lightning")
from experiments import CPU
from torch.utils.data import TensorDataset

from torch_symbreak.models import MLP
from torch_symbreak.training import Regression, Training, fit


def line(n=64):
    """Make pairs (y, x) of a map that is easy to learn."""
    y = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(y, y.sum(1, keepdim=True))


def learner(plan, seed=0):
    torch.manual_seed(0)
    y, x = line().tensors
    return Regression(
        torch.nn.Sequential(MLP(3, 1, width=8), torch.nn.Dropout(0.1)),
        y,
        x,
        feature="intensity",
        training=plan,
        seed=seed,
    )


def test_training_ends_at_the_plateau_and_keeps_the_best(tmp_path):
    plan = Training(max_epochs=500, patience=2, batch_size=16, learning_rate=1e-2)
    model = learner(plan)
    curves = fit(model, line(), line(20), folder=tmp_path, hardware=CPU)
    assert 10 < len(curves.validation) < 500
    best = min(curves.validation)
    assert min(curves.validation[-3 * plan.patience :]) >= best * (1 - 1e-6)
    y, x = line(20).tensors
    assert (model.predict(y) - x).square().mean().item() == pytest.approx(best, rel=1e-4)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] < 1e-2
    mean = line().tensors[0].mean(0)
    assert torch.allclose(saved["state_dict"]["mean"], mean)  # predictions from a checkpoint need it


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", [0, 1, 5, 11])
def test_interrupted_training_goes_on_with_the_same_numbers(when, tmp_path, monkeypatch):
    plan = Training(max_epochs=12, patience=1, batch_size=16)
    straight = learner(plan)
    expected = fit(straight, line(), line(20), folder=tmp_path / "straight", hardware=CPU)
    step = Regression.training_step

    def killing(self, batch):
        if self.current_epoch == when and self.trainer.is_last_batch:
            raise Killed
        return step(self, batch)

    when = min(when, len(expected.train) - 1)
    monkeypatch.setattr(Regression, "training_step", killing)
    with pytest.raises(Killed):
        fit(learner(plan), line(), line(20), folder=tmp_path / "killed", hardware=CPU)
    monkeypatch.setattr(Regression, "training_step", step)
    again = learner(plan)
    assert fit(again, line(), line(20), folder=tmp_path / "killed", hardware=CPU) == expected
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), straight.state_dict().values(), strict=True)
    )
    # A training that has ended does nothing when it is called again.
    assert fit(learner(plan), line(), line(20), folder=tmp_path / "killed", hardware=CPU) == expected


def test_a_moved_training_goes_on_with_its_best_epoch(tmp_path):
    y = torch.linspace(0, 1, 64)[:, None]
    train, validation = TensorDataset(y, 2 * y), TensorDataset(y, y / 2)  # the first epochs are the best ones

    def trained(epochs, folder):
        torch.manual_seed(0)
        plan = Training(max_epochs=epochs, batch_size=16, learning_rate=0.05)
        model = Regression(torch.nn.Linear(1, 1), *train.tensors, feature="intensity", training=plan)
        curves = fit(model, train, validation, folder=folder, hardware=CPU)
        return curves, model.predict(y)

    curves, expected = trained(10, tmp_path / "straight")
    assert curves.validation.index(min(curves.validation)) < 6
    trained(6, tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    for _ in range(2):  # the second time the training has ended already
        found = trained(10, tmp_path / "b")
        assert found[0] == curves
        assert len(found[0].seconds) == 10
        assert torch.equal(found[1], expected)


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch):
    def pressed(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(Regression, "training_step", pressed)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="resume to go on"):  # Lightning would leave the process
        fit(learner(Training()), line(), line(20), folder=tmp_path, hardware=CPU)
    assert signal.getsignal(signal.SIGINT) is before  # Lightning would ignore the next one


def test_an_exit_that_is_no_ctrl_c_stays_one(tmp_path, monkeypatch):
    def left(self, batch):
        raise SystemExit(143)  # as a handler of SIGTERM would

    monkeypatch.setattr(Regression, "training_step", left)
    with pytest.raises(SystemExit, match="143"):
        fit(learner(Training()), line(), line(20), folder=tmp_path, hardware=CPU)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_is_named(name, tmp_path):
    plan = Training(max_epochs=2)
    fit(learner(plan), line(), line(20), folder=tmp_path, hardware=CPU)
    checkpoint = tmp_path / name
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(RuntimeError, match=f"{name} is damaged or missing. Delete"):
        fit(learner(plan), line(), line(20), folder=tmp_path, hardware=CPU)


@pytest.mark.parametrize("feature", ["magnitude", "log-magnitude"])
def test_negative_intensities_count_as_zero(feature):
    """As a subtracted background leaves them. One of them made every answer NaN."""
    y, x = torch.rand(8, 3), torch.rand(8, 1)
    y[2, 1] = y[5, 0] = 0
    negative = torch.where(y == 0, -1e-3, y)
    models = [Regression(MLP(3, 1, width=8), z, x, feature=feature) for z in (y, negative)]
    models[1].load_state_dict({**models[0].state_dict(), "mean": models[1].mean, "std": models[1].std})
    answers = [model(z) for model, z in zip(models, (y, negative), strict=True)]
    assert answers[0].isfinite().all()
    assert torch.equal(*answers)


def test_diverging_training_says_so(tmp_path):
    plan = Training(max_epochs=3, learning_rate=1e20)
    with pytest.raises(RuntimeError, match="diverged"):
        fit(learner(plan), line(), line(20), folder=tmp_path, hardware=CPU)

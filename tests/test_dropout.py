import pytest
import torch

from retrieval.pairs.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.25, 0.9])
def test_training_drops_a_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    layer = Dropout(share)
    out = layer(torch.ones(999, 1001))
    dropped = layer.dropped / 256
    assert dropped == pytest.approx(share, abs=1 / 512)
    assert (out == 0).float().mean().item() == pytest.approx(dropped, abs=2e-3)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - dropped)])


def test_places_are_dropped_independently_and_gradients_only_pass_where_values_do() -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 1000, requires_grad=True)
    out = Dropout(0.5)(x)
    there = (out > 0).float()
    neighbours = (there[:, 1:] * there[:, :-1]).mean().item()
    assert neighbours == pytest.approx(0.25, abs=2e-3)
    torch.autograd.backward(out.sum())
    assert x.grad is not None
    torch.testing.assert_close(x.grad, out.detach())


def test_answering_drops_nothing() -> None:
    x = torch.randn(5, 7)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


@pytest.mark.parametrize("share", [-0.1, 0.999, 1.0])
def test_shares_that_leave_nothing_or_add_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="cannot drop"):
        Dropout(share)

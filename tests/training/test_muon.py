"""Muon against torch's own, and the parts of its step."""

import pytest
import torch

from llmasos.training.muon import Muon, orthogonalize


@pytest.mark.parametrize("shapes", [[(12, 12)], [(12, 12), (12, 12), (30, 12), (12, 30), (30, 12)]])
def test_the_same_steps_as_torchs_own(shapes):
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    a = Muon(ours, lr=0.02, weight_decay=0.1)
    b = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        for p, q in zip(ours, theirs, strict=True):
            torch.manual_seed(step)
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        a.step()
        b.step()
    moved = 4 * 0.02 * 0.2 * 30**0.5  # about how far four steps go; bfloat16 rounds products to 1 in 256
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=0.0, atol=0.03 * moved)


def test_singular_values_end_near_one_and_directions_stay():
    torch.manual_seed(1)
    for shape in [(3, 8, 8), (2, 20, 8), (2, 8, 20)]:
        x = torch.randn(shape, dtype=torch.float64)
        y = orthogonalize(x)
        values = torch.linalg.svdvals(y)
        assert y.shape == x.shape and (values > 0.3).all() and (values < 1.3).all()
        u, _, vt = torch.linalg.svd(x, full_matrices=False)
        within = u.mT @ y @ vt.mT  # diagonal, if y has the singular directions of x
        torch.testing.assert_close(within, torch.diag_embed(within.diagonal(dim1=-2, dim2=-1)), atol=1e-9, rtol=0)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)

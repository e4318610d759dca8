"""The networks: what they map to what, what they see, and that SiSPRNet is the published one."""

import io

import pytest
import torch
from torch import nn

from torch_symbreak.models import MLP, SiSPRNet, UNet
from torch_symbreak.models.sisprnet import ConvBlock, NonLocal

SIZES = [
    ((64, 64), (32, 32)),
    ((48, 48), (24, 24)),
    ((33, 33), (17, 17)),
    ((31, 20), (16, 9)),
    ((40, 25), (24, 24)),
    ((9, 5), (9, 1)),
]
#: For SiSPRNet also: a detector below the frame, one of one axis, the least frame.
ANY = [*SIZES, ((7, 9), (18, 11)), ((50,), (6, 6)), ((3, 3), (1, 5))]


def small(detector, frame, **options):
    return SiSPRNet(detector, frame, **{"hidden": 24, **options})


# ------------------------------------------------------------------------------------------------- UNet


@pytest.mark.parametrize(
    ("detector", "frame"), [*SIZES, ((9,), (5,)), ((16, 15, 9), (8, 8, 9)), ((8, 4, 6), (4, 4, 3))]
)
def test_unet_shapes_and_receptive_field(detector, frame):
    network = UNet(detector, frame).eval()
    y = torch.randn(2, 1, *detector, requires_grad=True)
    out = network(y)
    assert out.shape == (2, 2, *frame)
    out[(0, slice(None), *(n // 2 for n in frame))].sum().backward()
    assert y.grad[1].count_nonzero() == 0
    corners = y.grad[0, 0][tuple(slice(None, None, m - 1) for m in detector)]
    assert corners.count_nonzero() == 2 ** len(detector), "the middle of the object does not see the whole detector"


def test_unet_refuses_sizes():
    with pytest.raises(ValueError, match="at least the frame's shape"):
        UNet((8, 8), (9, 8))
    with pytest.raises(ValueError, match="needs measurements of shape"):
        UNet((8, 8), (4, 4))(torch.zeros(1, 1, 9, 8))
    for frame in [(4,), (2, 2, 2, 2), ()]:
        with pytest.raises(ValueError, match="two shapes of the same 1 to 3 axes"):
            UNet((8, 8), frame)


@pytest.mark.parametrize(("detector", "frame"), [((9, 8), (5, 4)), ((9, 8, 7), (5, 4, 4))])
def test_the_unet_folds_neighbors_into_channels(detector, frame):
    y = torch.arange(float(torch.Size(detector).numel())).reshape(1, 1, *detector)
    folded = UNet(detector, frame, width=2)._folded(y)
    assert folded.shape == (1, 2 ** len(detector), *frame)
    # The first entry of every block is the first channel, and the block's next along the last axis the second.
    start = (0, 0, *(slice(None, None, 2) for _ in detector))
    assert torch.equal(folded[0, 0], y[start])
    after = y[(*start[:-1], slice(1, None, 2))]
    assert torch.equal(folded[0, 1][..., : after.shape[-1]], after)


# ------------------------------------------------------------------------------------------------- MLP


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_mlp(depth):
    network = MLP(5, 4, width=7, depth=depth)
    layers = [(layer.in_features, layer.out_features) for layer in network.layers if isinstance(layer, nn.Linear)]
    assert layers == ([(5, 4)] if depth == 0 else [(5, 7), *[(7, 7)] * (depth - 1), (7, 4)])
    assert [type(layer) for layer in network.layers] == [nn.Linear, nn.SiLU] * depth + [nn.Linear]
    y = torch.randn(3, 5, requires_grad=True)
    out = network(y)
    assert out.shape == (3, 4)
    out[0].sum().backward()
    assert y.grad[0].count_nonzero() == 5
    assert y.grad[1:].count_nonzero() == 0


def test_mlp_is_affine_without_hidden_layers():
    network, (a, b) = MLP(3, 2, depth=0), torch.randn(2, 4, 3)
    torch.testing.assert_close(network((a + b) / 2), (network(a) + network(b)) / 2)


# ------------------------------------------------------------------------------------------------- SiSPRNet


def test_sisprnet_has_the_published_number_of_parameters():
    network = SiSPRNet((128, 128), (128, 128))
    assert sum(p.numel() for p in network.parameters()) == 19_256_469
    shapes = []
    for module in network.body:
        module.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        assert network(torch.randn(1, 1, 128, 128)).shape == (1, 2, 128, 128)
    assert shapes[0] == (16384,)
    assert shapes[1:8] == [(1024,)] * 7
    assert shapes[8:] == [(1, 32, 32), (32, 32, 32), (128, 32, 32), (32, 64, 64), (64, 64, 64), (16, 128, 128)]


@pytest.mark.parametrize(("detector", "frame"), ANY)
def test_sisprnet_shapes_and_receptive_field(detector, frame):
    network = small(detector, frame).eval()
    y = torch.randn(2, 1, *detector, requires_grad=True)
    out = network(y)
    assert out.shape == (2, 2, *frame)
    out[0, :, frame[0] // 2, frame[1] // 2].sum().backward()
    assert y.grad[1].count_nonzero() == 0
    # A pixel that no unit of the first layer passes on would have a gradient of exactly 0.
    assert y.grad[0].count_nonzero() == y[0].numel()


@pytest.mark.parametrize(
    ("frame", "hidden", "grid"),
    [
        ((32, 32), 1024, (16, 8, 8)),
        ((128, 128), 1024, (1, 32, 32)),
        ((17, 9), 64, (5, 5, 3)),  # 64 is rounded up to 75
        ((40, 20), 8, (1, 10, 5)),  # 8 to 50
    ],
)
def test_the_hidden_vector_becomes_a_coarse_object(frame, hidden, grid):
    network = SiSPRNet((6, 6), frame, hidden=hidden)
    last = [layer for layer in network.body if isinstance(layer, nn.Linear)][-1]
    assert last.in_features == hidden
    assert network.body[:9](torch.randn(2, 1, 6, 6)).shape == (2, *grid)
    assert last.out_features == grid[0] * grid[1] * grid[2]


def test_sisprnet_starts_as_published():
    torch.manual_seed(1)
    network = SiSPRNet((64, 64), (32, 32))
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            assert module.bias.count_nonzero() == 0
            fan_in = module.weight[0].numel()
            if module.weight.numel() > 10_000:
                assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        if isinstance(module, nn.InstanceNorm2d):
            assert not list(module.parameters())
            assert not list(module.buffers())
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.2]


def mean_blocks(x, size):
    """Averages of (C, H, W) over blocks of size x size, those at the edge over what they have."""
    rows = [x[:, i : i + size] for i in range(0, x.shape[1], size)]
    return torch.stack(
        [torch.stack([row[:, :, j : j + size].mean((1, 2)) for j in range(0, x.shape[2], size)], -1) for row in rows],
        1,
    )


def naive_non_local(layer, x):
    """One item (C, H, W), pixel by pixel."""

    def pointwise(convolution, maps):
        matrix = convolution.weight[:, :, 0, 0]
        return torch.einsum("oc,chw->ohw", matrix, maps) + convolution.bias[:, None, None]

    pooled = mean_blocks(x, 2)
    theta = pointwise(layer.theta, pooled)
    phi = mean_blocks(pointwise(layer.phi, pooled), 4).flatten(1)
    g = mean_blocks(pointwise(layer.g, pooled), 4).flatten(1)
    out = torch.empty_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            weights = torch.exp(theta[:, i // 2, j // 2] @ phi)
            seen = g @ (weights / weights.sum())
            out[:, i, j] = layer.out.weight[:, :, 0, 0] @ seen + layer.out.bias
    return out


@pytest.mark.parametrize("grid", [(16, 16), (8, 8), (24, 9), (11, 17), (2, 1), (1, 19)])
def test_non_local_is_its_definition(grid):
    layer = NonLocal(6).double()
    x = 3 * torch.randn(2, 6, *grid, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), torch.stack([naive_non_local(layer, item) for item in x]))


def test_conv_block_normalizes_every_map():
    block = ConvBlock(3, 4)
    convolution, normalization, activation = block
    x = 5 + 10 * torch.randn(2, 3, 8, 8)
    normal = normalization(convolution(x))
    torch.testing.assert_close(normal.mean((2, 3)), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.var((2, 3), unbiased=False), torch.ones(2, 4), atol=1e-3, rtol=0)
    torch.testing.assert_close(block(x), torch.where(normal < 0, activation.weight * normal, normal))


def test_sisprnet_drops_in_training_only():
    network, y = small((12, 12), (8, 8)), torch.randn(2, 1, 12, 12)
    assert not torch.equal(network(y), network(y))
    network.eval()
    assert torch.equal(network(y), network(y))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: MLP(6, 3, width=8), (6,)),
        (lambda: UNet((12, 10), (6, 5), width=4, depth=2), (1, 12, 10)),
        (lambda: UNet((8, 6, 7), (4, 3, 4), width=4, depth=1), (1, 8, 6, 7)),
        (lambda: small((12, 10), (6, 5)), (1, 12, 10)),
        (lambda: small((12, 10), (6, 5), in_channels=3, out_channels=1), (3, 12, 10)),
    ],
)
class TestEvery:
    """Keep the promises that a training loop relies on."""

    def test_one_step(self, make, shape):
        network = make()
        optimizer = torch.optim.Adam(network.parameters())
        y = torch.randn(4, *shape)
        before = [p.clone() for p in network.parameters()]
        for _ in range(2):
            optimizer.zero_grad()
            network(y).square().mean().backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
            optimizer.step()
        assert any(not torch.equal(b, p) for b, p in zip(before, network.parameters(), strict=True))
        assert network(y).isfinite().all()

    def test_items_are_independent(self, make, shape):
        network, y = make().eval(), torch.randn(4, *shape)
        with torch.no_grad():
            torch.testing.assert_close(network(y), torch.cat([network(item[None]) for item in y]))

    def test_state_dict(self, make, shape):
        network, other, y = make().eval(), make().eval(), torch.randn(2, *shape)
        assert not torch.equal(network(y), other(y))
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(network(y), other(y))

    def test_measurements_of_another_shape(self, make, shape):
        network = make()
        with pytest.raises(ValueError, match=r"needs measurements of shape \(B, .*Add the batch dimension"):
            network(torch.zeros(shape))
        with pytest.raises(ValueError, match=r"needs measurements of shape \(B, .*Make the \w+ for this shape"):
            network(torch.zeros(2, *shape[:-1], shape[-1] + 1))
        with pytest.raises(TypeError, match="needs real measurements"):
            network(torch.zeros(2, *shape, dtype=torch.complex64))


@pytest.mark.parametrize("network", [UNet((12, 10), (6, 5), width=4), small((12, 10), (6, 5))])
def test_a_missing_channel_is_named(network):
    with pytest.raises(ValueError, match=r"\(B, 1, 12, 10\), but got \(3, 12, 10\).*y\.unsqueeze\(1\)"):
        network(torch.zeros(3, 12, 10))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SiSPRNet((8, 8), (4, 4)), r"side of at least 5, \(5, 1\) or \(1, 5\) being the least.*\(4, 4\)"),
        (lambda: SiSPRNet((8, 8), (8,)), r"frame of two sizes.*\(8,\)"),
        (lambda: SiSPRNet((8, 8), (8, 0)), "all positive"),
        (lambda: SiSPRNet((8, 0), (8, 8)), "all positive"),
        (lambda: SiSPRNet((), (8, 8)), "all positive"),
        (lambda: SiSPRNet((8, 8), (8, 8), hidden=0), "hidden >= 1"),
        (lambda: SiSPRNet((8, 8), (8, 8), in_channels=0), "in_channels"),
        (lambda: SiSPRNet((8, 8), (8, 8), out_channels=0), "out_channels"),
        (lambda: SiSPRNet((8, 8), (8, 8), dropout=1.0), "dropout < 1"),
        (lambda: MLP(0, 1), "in_features, out_features, width >= 1 and depth >= 0, but got 0, 1, 256 and 3"),
        (lambda: MLP(1, 0), "out_features"),
        (lambda: MLP(1, 1, width=0), "width"),
        (lambda: MLP(1, 1, depth=-1), "depth"),
    ],
)
def test_wrong_sizes(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""Break the symmetries of your own data set, in a plain PyTorch training loop: python examples/own_dataset.py"""

import torch
from torch.utils.data import DataLoader, Dataset

from torch_symbreak import FarField, SymmetryBrokenDataset, ToChannels, sa_mse


class MyObjects(Dataset):
    """Stands for your data: complex objects, each somewhere in its frame, in whatever orientation and phase."""

    def __len__(self) -> int:
        return 512

    def __getitem__(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(index)
        x = torch.zeros(16, 16, dtype=torch.complex64)
        row, column = torch.randint(0, 8, (2,), generator=generator).tolist()
        x[row : row + 8, column : column + 8] = torch.rand(8, 8, dtype=torch.complex64, generator=generator)
        return x


def main(epochs: int = 5) -> float:
    torch.manual_seed(0)
    model = FarField(2)
    data = SymmetryBrokenDataset(MyObjects(), model.canonicalizer(), forward=model)  # the one line
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(32 * 32, 256), torch.nn.ReLU(), torch.nn.Linear(256, 2 * 16 * 16)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(epochs):
        errors = []
        for y, x in DataLoader(data, batch_size=32, shuffle=True):
            predicted = net(y.sqrt().log1p()).unflatten(1, (2, 16, 16))
            loss = torch.nn.functional.mse_loss(predicted, ToChannels()(x))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            retrieved = torch.complex(*predicted.detach().unbind(1))
            errors.append(sa_mse(retrieved, x, model.symmetries))
        print(f"epoch {epoch}: SA-MSE {torch.stack(errors).mean():.4f}")
    return float(torch.stack(errors).mean())


if __name__ == "__main__":
    main()

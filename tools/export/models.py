"""Factories of well-known models, to try the export with: `export_bundle.py tools/export/models.py:resnet18 ...`.

Each returns a module in evaluation mode with seeded weights, channels-last where it is convolutional, and example inputs.
Weights are random, but so that outputs depend on inputs as a trained model's do: torchvision begins some heads with zeros,
and norms that have seen nothing let a deep model fade out.
"""

import torch
from torch import nn


def _image(size=224, channels=3):
    return torch.randn(1, channels, size, size).to(memory_format=torch.channels_last)


def _vision(name, size=224):
    import torchvision

    torch.manual_seed(0)
    model = _lively(getattr(torchvision.models, name)(), _image(size))
    return model.eval().to(memory_format=torch.channels_last), (_image(size),)


def _lively(model, image):
    """Gives heads that are all zeros small weights, and lets batch norms see some noise."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.02)
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean of all it sees
    model.train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn_like(image.repeat(4, 1, 1, 1)))
    return model


def resnet18():
    return _vision("resnet18")


def mobilenet_v3_small():
    return _vision("mobilenet_v3_small")


def vit_b_16():
    return _vision("vit_b_16")


class _Double(nn.Sequential):
    def __init__(self, a, b):
        super().__init__(
            nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
            nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(),
        )


class UNet(nn.Module):
    """A small U-Net: four levels, 24 to 192 channels, one class of segmentation."""

    def __init__(self, channels=(24, 48, 96, 192)):
        super().__init__()
        self.down = nn.ModuleList(_Double(a, b) for a, b in zip((3, *channels[:-1]), channels))
        self.up = nn.ModuleList(_Double(a + b, b) for a, b in zip(channels[:0:-1], channels[-2::-1]))
        self.head = nn.Conv2d(channels[0], 1, 1)

    def forward(self, x):
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1]):
            x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), skip], 1))
        return torch.sigmoid(self.head(x))


def unet():
    torch.manual_seed(0)
    return UNet().eval().to(memory_format=torch.channels_last), (_image(256),)


class Detector(nn.Module):
    """A single-shot detector: a backbone of strided convolutions, and a head that gives, per cell of two grids, the box
    (left, top, right, bottom, in pixels) and a score."""

    def __init__(self, widths=(16, 32, 64, 96, 128)):
        super().__init__()
        layers = []
        for a, b in zip((3, *widths[:-1]), widths):
            layers.append(nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.SiLU()))
            layers.append(nn.Sequential(nn.Conv2d(b, b, 3, 1, 1, groups=b, bias=False), nn.Conv2d(b, b, 1), nn.SiLU()))
        self.body = nn.ModuleList(layers)
        self.heads = nn.ModuleList(nn.Conv2d(width, 5, 1) for width in widths[-2:])

    def forward(self, image):
        grids, x = [], image
        for index, layer in enumerate(self.body):
            x = layer(x)
            if index in (len(self.body) - 3, len(self.body) - 1):
                grids.append(x)
        rows = []
        for head, grid in zip(self.heads, grids):
            out = head(grid).permute(0, 2, 3, 1)
            stride = image.shape[-1] / out.shape[2]
            ys = torch.arange(out.shape[1], device=out.device, dtype=out.dtype).view(1, -1, 1) * stride
            xs = torch.arange(out.shape[2], device=out.device, dtype=out.dtype).view(1, 1, -1) * stride
            sides = torch.nn.functional.softplus(out[..., :4]) * stride
            box = torch.stack([xs - sides[..., 0], ys - sides[..., 1], xs + sides[..., 2], ys + sides[..., 3]], -1)
            rows.append(torch.cat([box, torch.sigmoid(out[..., 4:])], -1).flatten(1, 2))
        return torch.cat(rows, 1)


def detector():
    torch.manual_seed(0)
    return Detector().eval().to(memory_format=torch.channels_last), (_image(320),)

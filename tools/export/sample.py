"""Which inputs is the model recorded with, and which become the bundle's sample?"""

import torch


class NotAnInput(Exception):
    pass


def of_shape(text):
    """Normally distributed numbers, from torch's generator, of a shape such as 1x3x224x224."""
    try:
        shape = [int(part) for part in text.split("x")]
    except ValueError:
        raise NotAnInput(f"--shape {text}: must be sizes with x between them, such as 1x3x224x224") from None
    if min(shape) < 1:
        raise NotAnInput(f"--shape {text}: each size must be at least 1")
    return torch.randn(*shape)


def of_file(path):
    """One tensor, as numpy.save or torch.save wrote it. Nothing in the file is run."""
    try:
        if path.endswith(".npy"):
            import numpy

            return torch.from_numpy(numpy.load(path, allow_pickle=False))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise NotAnInput(f"--sample {path}: {error.name} is needed for .npy files") from error
    except Exception as error:
        why = (str(error) or type(error).__name__).split("\n")[0]
        raise NotAnInput(f"--sample {path}: must be one tensor of numpy.save (.npy) or torch.save: {why}") from error
    if not isinstance(found, torch.Tensor):
        raise NotAnInput(f"--sample {path}: must hold one tensor, and holds a {type(found).__name__}")
    return found

"""Values that two programs in two languages can both make, so that no weights file has to travel.

value(name, i, seed) in [-1, 1):
    h = FNV-1a, 32 bit, over the UTF-8 bytes of name
    x = (h + i * 0x9E3779B9 + seed * 0x85EBCA6B) mod 2^32
    x ^= x >> 16;  x = x * 0x7FEB352D mod 2^32;  x ^= x >> 15;  x = x * 0x846CA68B mod 2^32;  x ^= x >> 16
    value = (x >> 8) * 2^-23 - 1          (exact in float32)

i is the row-major index in the PyTorch tensor (OIHW for convolutions).
fill() says what each state-dict entry is made of; arithmetic in float32.
"""

import numpy as np


def value(name, n, seed):
    h = 0x811C9DC5
    for b in name.encode():
        h = ((h ^ b) * 0x01000193) & 0xFFFFFFFF
    x = (np.arange(n, dtype=np.uint64) * 0x9E3779B9 + h + seed * 0x85EBCA6B) & 0xFFFFFFFF
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x7FEB352D)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(15)
    x = (x * np.uint64(0x846CA68B)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    return ((x >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)).astype(np.float32)


def fill(name, shape, seed, branch_gamma=0.2):
    """One state-dict entry. branch_gamma: the scale of the last BN of each residual branch (bn3)."""
    n = int(np.prod(shape)) if len(shape) else 1
    v = value(name, n, seed).reshape(shape)
    f = np.float32
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_mean"):
        return f(0.1) * v
    if name.endswith("running_var"):
        return f(1) + f(0.2) * v
    if len(shape) >= 2:  # convolution or linear: uniform with variance 2 / fan_in
        fan_in = int(np.prod(shape[1:]))
        return f(np.sqrt(6.0 / fan_in)) * v
    if name.endswith("bias"):
        return f(0.1) * v
    gamma = f(branch_gamma) if name.endswith("bn3.weight") else f(1)
    return gamma * (f(1) + f(0.1) * v)


def state_dict(model, seed, branch_gamma=0.2):
    import torch

    return {
        k: torch.from_numpy(np.array(fill(k, tuple(t.shape), seed, branch_gamma)))
        for k, t in model.state_dict().items()
    }


def images(name, shape, seed):
    """Standardised input images, NCHW, values in [-1.7, 1.7)."""
    return (np.float32(1.7) * value(name, int(np.prod(shape)), seed)).reshape(shape).astype(np.float32)

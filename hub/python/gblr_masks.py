"""The Gaudi mask in closed form, with straight-through gradients (arXiv 2310.18882, section 3).

Masks are windows on n cyclic samples, smoothed by a Gaussian if sigma is finite.
"""

import functools
import math

import torch


def gaudi_mask(widths, locations, n, sigma=math.inf, evaluate=False):
    """Computes the masks of K blocks. Row k is 1 on round(w n) cyclic samples that start at sample round(l n), and 0
    elsewhere. If sigma is finite, the edges are smooth.

    widths w and locations l: (K), shares of n. Returns (K, n). Rounding is half to even; gradients pass through it
    unchanged. If evaluate, windows of one sample and entries of at most 1e-3 in size are 0.
    """
    return _GaudiMask.apply(widths, locations, n, float(sigma), evaluate)


class _GaudiMask(torch.autograd.Function):
    @staticmethod
    def forward(ctx, widths, locations, n, sigma, evaluate):
        width = torch.round(widths.float() * n).long()
        if evaluate:
            width = torch.where(width.abs() > 1, width, torch.zeros_like(width))
        begin = torch.round(locations.float() * n).long()
        # distance of each sample from the first sample of the window, and from its end
        since = torch.remainder(torch.arange(n, device=widths.device) - begin[:, None], n)
        after = since - width[:, None]
        past = torch.remainder(after, n)
        mask = -torch.div(after, n, rounding_mode="floor")
        if not math.isinf(sigma):
            # the running sum of the Gaussian grows by 1 per turn of the circle; turns are counted separately in mask
            total = _running_sum(n, sigma).to(widths.device)
            mask = total[since] - total[past] + mask
        mask = mask.to(widths.dtype)
        if evaluate and not math.isinf(sigma):
            mask = torch.where(mask.abs() > 1e-3, mask, torch.zeros_like(mask))
        ctx.save_for_backward(since, past, mask)
        ctx.n, ctx.sigma, ctx.evaluate = n, sigma, evaluate
        return mask

    @staticmethod
    def backward(ctx, dy):
        since, past, mask = ctx.saved_tensors
        slope = _slope(ctx.n, ctx.sigma).to(device=dy.device, dtype=dy.dtype)
        if ctx.evaluate:
            dy = dy * (mask != 0)  # entries set to 0 stay 0 under small changes
        to_width = slope[past]
        return (dy * to_width).sum(1), (dy * (to_width - slope[since])).sum(1), None, None, None


def _frequencies(n, sigma):
    """The frequencies f = 1, 2, ... for which the Gaussian is not negligible, and their weights."""
    last = n // 2 if math.isinf(sigma) else min(n // 2, math.ceil(9.5 * sigma))
    f = torch.arange(1, last + 1, dtype=torch.float64)
    gauss = torch.ones_like(f) if math.isinf(sigma) else torch.exp(-((f / sigma) ** 2) / 2)
    return f, gauss * torch.where(2 * f == n, 1.0, 2.0)


def _waves(n, f, weights, shift):
    """sum_f weights[f] cos(2 pi f (j + shift) / n) for all j."""
    total = torch.zeros(n, dtype=torch.float64)
    places = (torch.arange(n, dtype=torch.float64) + shift)[:, None]
    for at in range(0, len(f), 256):
        turns = torch.remainder(places * f[at : at + 256], n)
        total += torch.cos(turns * (2 * math.pi / n)) @ weights[at : at + 256]
    return total


@functools.lru_cache(maxsize=32)
def _running_sum(n, sigma):
    f, weights = _frequencies(n, sigma)
    return torch.cumsum((1 + _waves(n, f, weights, 0)) / n, 0)


@functools.lru_cache(maxsize=32)
def _slope(n, sigma):
    """The derivative of the mask with respect to its width, at the sample j samples past the window's end."""
    f, weights = _frequencies(n, sigma)
    angle = math.pi * f / n
    return 1 + _waves(n, f, weights * angle / torch.sin(angle), 0.5)

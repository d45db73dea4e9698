"""Linear layers with structured matrices: GBLR (packed or trainable), low rank, grids of blocks, BLAST, and sparse
matrices. Each is a torch module with the parameters described in docs/format.md.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from gblr_masks import gaudi_mask
from gblr_rules import check_permutation, check_spans


class StructuredLinear(nn.Module):
    """y = x W^T + bias, with W (n_out, n_in) and x (..., n_in). Base class of the structures."""

    parts = {}  # the shape of each parameter, in names of sizes

    def __init__(self, name, n_in, n_out, shapes, bias=True, mode="dense"):
        """shapes: the shape of each parameter by name, without the bias. Parameters are zeros until they are loaded.
        mode: of packed layers, "dense" or "packed".

        Raises a ValueError of one line if a shape does not fit.
        """
        super().__init__()
        self.name, self.n_in, self.n_out, self.mode = name, n_in, n_out, mode
        self._check_shapes(shapes)
        for part in self.parts:
            self._add(part, shapes[part])
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self._built = self._placed = None

    def _add(self, part, shape):
        self.register_parameter(part, nn.Parameter(torch.zeros(tuple(shape))))

    def known_sizes(self):
        """Lengths of sizes in `parts`. Other sizes may have any length, but the same one in all shapes."""
        return {"n_in": self.n_in, "n_out": self.n_out}

    def _check_shapes(self, shapes):
        sizes = self.known_sizes()
        for part, names in self.parts.items():
            shape, wanted = tuple(shapes[part]), tuple(sizes.get(name, name) for name in names)
            fits = len(shape) == len(names) and all(
                sizes.setdefault(name, side) == side if isinstance(name, str) else name == side
                for name, side in zip(names, shape)
            )
            if not fits:
                must = ", ".join(str(side) for side in wanted)
                raise ValueError(f'tensor "{self.name}.{part}": must be of shape ({must}), is {shape}')

    def check(self):
        """Raises a ValueError of one line if values that are used as indices break a rule of the format. Default: there
        are none."""

    def matrix(self):
        """W (n_out, n_in), differentiable in the parameters."""
        raise NotImplementedError

    def product(self, rows):
        """rows (count, n_in) times W^T, differentiable."""
        return functional.linear(rows, self.kept_matrix())

    def forward(self, x):
        y = self.product(x.reshape(-1, self.n_in)).reshape(*x.shape[:-1], self.n_out)
        return y if self.bias is None else y + self.bias

    def kept_matrix(self):
        """W, cached unless a gradient is needed or its parameters have changed."""
        tensors = [tensor for tensor in (*self.parameters(), *self.buffers()) if tensor is not self.bias]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return self.matrix()
        key = [(t.data_ptr(), t.device, t.dtype, _version(t)) for t in tensors] + [self.training]
        if self._built is None or self._built[0] != key:
            # a tensor made in inference mode could not be used for a gradient to x later
            with torch.inference_mode(False), torch.no_grad():
                self._built = (key, self.matrix())
        return self._built[1]


def _version(tensor):
    try:
        return tensor._version
    except RuntimeError:  # tensors made in inference mode have no version, and do not change
        return 0


class PackedGblrLinear(StructuredLinear):
    """A packed GBLR matrix: the spans of its live blocks and the values in them (docs/format.md). Values can be
    trained, spans cannot."""

    parts = {"spans": (4, "blocks"), "values_in": ("samples_in",), "values_out": ("samples_out",)}

    def _add(self, part, shape):
        if part == "spans":
            self.register_buffer(part, torch.zeros(tuple(shape), dtype=torch.int32))
        else:
            super()._add(part, shape)

    def matrix(self):
        rows_in, at_in, rows_out, at_out = self.places()
        blocks = self.spans.shape[1]
        left = self.values_out.new_zeros(blocks, self.n_out).index_put((rows_out, at_out), self.values_out)
        right = self.values_in.new_zeros(blocks, self.n_in).index_put((rows_in, at_in), self.values_in)
        return left.t() @ right

    def product(self, rows):
        if self.mode == "dense":
            return super().product(rows)
        rows_in, at_in, rows_out, at_out = self.places()
        middle = rows.new_zeros(len(rows), self.spans.shape[1])
        middle = middle.index_add(1, rows_in, rows[:, at_in] * self.values_in)
        spread = middle[:, rows_out] * self.values_out
        return rows.new_zeros(len(rows), self.n_out).index_add(1, at_out, spread)

    def places(self):
        """The block and the sample of each value: on the input side, then on the output side."""
        key = (self.spans.data_ptr(), self.spans.device, _version(self.spans))
        if self._placed is None or self._placed[0] != key:
            self.check()
            start_in, length_in, start_out, length_out = self.spans.long()
            sides = ((start_in, length_in, self.n_in), (start_out, length_out, self.n_out))
            self._placed = (key, [each for side in sides for each in _spread(*side)])
        return self._placed[1]

    def check(self):
        counts = (self.values_in.numel(), self.values_out.numel())
        check_spans(self.name, self.spans, self.n_in, self.n_out, *counts)


def _spread(start, length, n):
    """The block and the sample of each value on a side of n samples, block by block. start, length: (B), in samples."""
    block = torch.repeat_interleave(torch.arange(len(start), device=start.device), length)
    before = torch.cumsum(length, 0) - length
    sample = torch.arange(len(block), device=start.device) - before[block] + start[block]
    return block, torch.remainder(sample, n)


class GblrLinear(StructuredLinear):
    """A trainable GBLR matrix: all blocks with their masks, under the reference's parameter names.

    Gradients pass through the rounding of `widths` and `locations`. Call clamp_structure() after each optimizer step.
    `sigma` is the smoothness of the masks, inf for no Gaussian.
    """

    parts = {
        "lr_weight1": ("blocks", "rank", "n_in"),
        "lr_weight2": ("blocks", "n_out", "rank"),
        "widths": (2, "blocks"),
        "locations": (2, "blocks"),
    }

    def __init__(self, name, n_in, n_out, shapes, **options):
        super().__init__(name, n_in, n_out, shapes, **options)
        self.register_buffer("sigma", torch.tensor(math.inf))

    def masks(self):
        """The masks of the input and the output side, (K, n_in) and (K, n_out)."""
        sigma, evaluate = float(self.sigma), not self.training
        sides = zip(self.widths, self.locations, (self.n_in, self.n_out))
        return tuple(gaudi_mask(width, location, n, sigma, evaluate) for width, location, n in sides)

    def matrix(self):
        mask_in, mask_out = self.masks()
        right = (self.lr_weight1 * mask_in[:, None, :]).reshape(-1, self.n_in)
        left = (self.lr_weight2 * mask_out[:, :, None]).transpose(1, 2).reshape(-1, self.n_out)
        return left.t() @ right

    @torch.no_grad()
    def clamp_structure(self):
        """Clamps widths to [0, 1] and wraps locations into [0, 1). Call it after each optimizer step."""
        self.widths.clamp_(0, 1)
        self.locations.remainder_(1)


class LowRankLinear(StructuredLinear):
    """left (n_out, r) times right (r, n_in)."""

    parts = {"left": ("n_out", "rank"), "right": ("rank", "n_in")}

    def matrix(self):
        return self.left @ self.right

    def product(self, rows):
        return functional.linear(functional.linear(rows, self.right), self.left)


class PivotedLinear(StructuredLinear):
    """A matrix of rank r by r of its rows, the pivots (r, n_in), and the coefficients (n_out - r, r) of the other rows.
    Row o of the matrix is row order[o] of the pivots followed by the others. The order is not trained."""

    parts = {"pivots": ("rank", "n_in"), "coefficients": ("rest", "rank"), "order": ("n_out",)}

    def _add(self, part, shape):
        if part == "order":
            self.register_buffer(part, torch.zeros(tuple(shape)))
        else:
            super()._add(part, shape)

    def check(self):
        check_permutation(self.name, "order", self.order)

    def matrix(self):
        return torch.cat([self.pivots, self.coefficients @ self.pivots])[self.order.long()]

    def product(self, rows):
        pivots = functional.linear(rows, self.pivots)
        return torch.cat([pivots, functional.linear(pivots, self.coefficients)], dim=1)[:, self.order.long()]


class BlockLinear(StructuredLinear):
    """J x K blocks of rank r: first (n_in, r, J), second (n_out, K, r). The rows of a block are contiguous, or for
    Monarch every J-th row. Sizes that J and K do not divide are padded with zeros."""

    parts = {"first": ("n_in", "rank", "row_blocks"), "second": ("n_out", "column_blocks", "rank")}
    strided = False

    def matrix(self):
        return self.product(torch.eye(self.n_in, dtype=self.first.dtype, device=self.first.device)).t()

    def product(self, rows):
        (_, rank, row_blocks), column_blocks = self.first.shape, self.second.shape[1]
        width, height = -(-self.n_in // column_blocks), -(-self.n_out // row_blocks)
        first = _filled(self.first, column_blocks * width).reshape(column_blocks, width, rank, row_blocks)
        inputs = _filled(rows.t(), column_blocks * width).t().reshape(-1, column_blocks, width)
        middle = torch.einsum("nkp,kprj->nkrj", inputs, first)
        second = _filled(self.second, row_blocks * height)
        if self.strided:
            y = torch.einsum("nkrj,sjkr->nsj", middle, second.reshape(height, row_blocks, column_blocks, rank))
        else:
            y = torch.einsum("nkrj,jskr->njs", middle, second.reshape(row_blocks, height, column_blocks, rank))
        return y.reshape(len(rows), -1)[:, : self.n_out]


class MonarchLinear(BlockLinear):
    """A Monarch matrix (Dao et al. 2022): block row j has the rows j, j + J, j + 2 J, ... of the matrix."""

    strided = True


class BlastLinear(StructuredLinear):
    """J x K blocks U_i diag(s_ij) V_j^T (Lee et al. 2024): basis_out (n_out, r) has the rows of all U_i, basis_in
    (n_in, r) those of all V_j, couplings (J, K, r) all s_ij. Sizes that J and K do not divide are padded with zeros."""

    parts = {
        "basis_out": ("n_out", "rank"),
        "basis_in": ("n_in", "rank"),
        "couplings": ("row_blocks", "column_blocks", "rank"),
    }

    def matrix(self):
        return self.product(torch.eye(self.n_in, dtype=self.basis_in.dtype, device=self.basis_in.device)).t()

    def product(self, rows):
        row_blocks, column_blocks, rank = self.couplings.shape
        width, height = -(-self.n_in // column_blocks), -(-self.n_out // row_blocks)
        basis_in = _filled(self.basis_in, column_blocks * width).reshape(column_blocks, width, rank)
        basis_out = _filled(self.basis_out, row_blocks * height).reshape(row_blocks, height, rank)
        inputs = _filled(rows.t(), column_blocks * width).t().reshape(-1, column_blocks, width)
        middle = torch.einsum("nkp,kpr->nkr", inputs, basis_in)
        coupled = torch.einsum("nkr,jkr->njr", middle, self.couplings)
        return torch.einsum("njr,jsr->njs", coupled, basis_out).reshape(len(rows), -1)[:, : self.n_out]


class BlockSparseLinear(StructuredLinear):
    """The dense blocks of a flat butterfly plus a low-rank matrix. left (n_out, r), right (r, n_in).

    values (side, height, kept, width): block row i keeps the block columns i XOR m, for the first `kept` masks m
    below `side`, ordered by their number of one bits, then by value.
    """

    parts = {"values": ("side", "height", "kept", "width"), **LowRankLinear.parts}

    def matrix(self):
        return self.product(torch.eye(self.n_in, dtype=self.values.dtype, device=self.values.device)).t()

    def product(self, rows):
        side, _, kept, width = self.values.shape
        masks = sorted(range(side), key=lambda mask: (bin(mask).count("1"), mask))[:kept]
        columns = torch.tensor([[row ^ mask for mask in masks] for row in range(side)], device=rows.device)
        inputs = _filled(rows.t(), side * width).t().reshape(-1, side, width)[:, columns]
        sparse = torch.einsum("nikw,ihkw->nih", inputs, self.values).reshape(len(rows), -1)[:, : self.n_out]
        return sparse + functional.linear(functional.linear(rows, self.right), self.left)


class SparseLinear(StructuredLinear):
    """A matrix (n_out, n_in) most of whose entries are 0, and stay 0 in training."""

    parts = {"entries": ("n_out", "n_in")}

    def matrix(self):
        return self.entries * (self.entries != 0)


def _filled(tensor, length):
    """Pads the first axis with zeros at its end, up to `length`."""
    missing = length - tensor.shape[0]
    return tensor if missing == 0 else torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])

"""Cuts a model of several sizes to one of them (docs/format.md): keeps the first ranks of the tiles of each layer.

The ranks are those that the workbench keeps, whose `gblr export --keep` also writes the blocks with shorter spans.
"""

import math

import torch

from gblr_config_rules import LayerError, is_number, is_whole

SIZES_VERSION = 1
MOST_TILES = 64
MOST_RANK = 2**24


class CutTensors:
    """Tensors of a file, some of which are cut."""

    def __init__(self, source, tensors):
        self.source, self.tensors, self.path = source, tensors, source.path

    def read(self, name):
        return self.tensors[name] if name in self.tensors else self.source.read(name)

    def shapes(self):
        return {**self.source.shapes(), **{name: tuple(each.shape) for name, each in self.tensors.items()}}


def cut_tensors(fields, stored, own_name, keep):
    """Cuts the layers of a model. fields: of config.json, checked. stored: a dict from the name of each parameter to its
    file and its name there. own_name: maps names in files to names in the model. keep: share of the parameters that the
    layers have when dense. Returns a dict like `stored`.

    Raises a ValueError of one line if the model has one size, or not this one, or its record breaks a rule.
    """
    sizes, record = _checked_record(fields)
    if not (is_number(keep) and sizes[0] <= keep <= sizes[-1]):
        raise ValueError(f"the model has sizes from {sizes[0]} to {sizes[-1]}, not {keep}; give keep in this range")
    listed = fields["gblr"]["layers"]
    layers = []
    for name in sorted(record):
        if name not in listed:
            raise LayerError(name, '"gblr.sizes" lists it, but the model has no such layer that can be cut')
        read = {
            part: stored[f"{own_name(name)}.{part}"]
            for part in ("spans", "values_in", "values_out", "left", "right")
            if f"{own_name(name)}.{part}" in stored
        }
        layers.append(_sized_layer(name, listed[name], record[name], read))
    dense = sum(layer.n_in * layer.n_out for layer in layers)
    allowed = math.floor(keep * dense * (1 + 1e-12))
    cut = {}
    for layer, ranks in zip(layers, ranks_within(layers, allowed)):
        for part, tensor in layer.cut(ranks).items():
            source, original = layer.read[part]
            cut.setdefault(id(source), (source, {}))[1][original] = tensor
    held = {key: CutTensors(source, tensors) for key, (source, tensors) in cut.items()}
    return {name: (held.get(id(source), source), original) for name, (source, original) in stored.items()}


def _checked_record(fields):
    """The sizes, and the ranks of each layer at each size by the name of the layer."""
    found = (fields.get("gblr") or {}).get("sizes")
    if found is None:
        raise ValueError(
            'config.json: has no "gblr.sizes", so that the model has one size; '
            "make one with `gblr convert --sizes 0.2..0.8`"
        )
    if not isinstance(found, dict):
        raise ValueError('config.json: "gblr.sizes" must be an object')
    if not is_number(found.get("version")) or found["version"] != SIZES_VERSION:
        raise ValueError(f'config.json: "gblr.sizes.version" must be {SIZES_VERSION}, is {repr(found.get("version"))[:80]}')
    sizes, layers = found.get("sizes"), found.get("layers")
    shares = isinstance(sizes, list) and sizes and all(is_number(each) and 0 < each <= 1 for each in sizes)
    if not shares or any(a >= b for a, b in zip(sizes, sizes[1:])):
        raise ValueError('config.json: "gblr.sizes.sizes" must be rising numbers above 0 and at most 1')
    if not isinstance(layers, dict) or not layers:
        raise ValueError('config.json: "gblr.sizes.layers" must name a layer')
    for name, levels in layers.items():
        _check_ranks(name, levels, len(sizes))
    return sizes, layers


def _check_ranks(name, levels, count):
    def is_ranks(own):
        return isinstance(own, list) and 0 < len(own) <= MOST_TILES and all(is_whole(each, 0, MOST_RANK) for each in own)

    if not (isinstance(levels, list) and len(levels) == count and all(map(is_ranks, levels))):
        raise LayerError(name, f"sizes must have {count} lists of ranks, whole numbers from 0, one list for each size")
    for before, own in zip(levels, levels[1:]):
        if len(own) != len(before) or any(a > b for a, b in zip(before, own)):
            raise LayerError(name, "the ranks of its sizes must have the same number of tiles, and none may fall")


def _sized_layer(name, settings, levels, read):
    if "spans" in read:
        return SizedBlocks(name, settings, levels, read)
    if "left" in read:
        return SizedFactors(name, settings, levels, read)
    raise LayerError(name, '"gblr.sizes" lists it, but the model has no such layer that can be cut')


class SizedLayer:
    """A layer of several sizes. ranks: of its tiles, by size. read: file and name of each of its tensors."""

    def __init__(self, name, settings, ranks, read):
        self.name, self.ranks, self.read = name, ranks, read
        self.n_in, self.n_out = settings["n_in"], settings["n_out"]

    def tensor(self, part):
        source, original = self.read[part]
        return source.read(original)


class SizedFactors(SizedLayer):
    """Low rank."""

    def __init__(self, *given):
        super().__init__(*given)
        self.left, self.right = self.tensor("left"), self.tensor("right")
        if self.ranks[-1] != [self.left.shape[1]]:
            most = " and ".join(str(rank) for rank in self.ranks[-1])
            raise LayerError(self.name, f"has rank {self.left.shape[1]}, its sizes have {most}")

    def cost(self, ranks):
        return ranks[0] * (self.n_in + self.n_out)

    def cut(self, ranks):
        return {"left": self.left[:, : ranks[0]].clone(), "right": self.right[: ranks[0]].clone()}


class SizedBlocks(SizedLayer):
    """GBLR: blocks of rank 1, tile by tile; those of a tile cover it whole."""

    def __init__(self, *given):
        super().__init__(*given)
        self.spans = self.tensor("spans")
        count, wanted = self.spans.shape[1], sum(self.ranks[-1])
        if count != wanted:
            raise LayerError(self.name, f"has {count} blocks, its sizes have {wanted} ranks")
        self.firsts = [sum(self.ranks[-1][:tile]) for tile in range(len(self.ranks[-1]))]
        # of each tile: start and length of its columns and of its rows
        self.tiles = [self._tile(tile, first, rank) for tile, (first, rank) in enumerate(zip(self.firsts, self.ranks[-1]))]
        used = [place for place, rank in zip(self.tiles[1:], self.ranks[-1][1:]) if rank > 0]
        self.by_columns = all(place[2:] == (0, self.n_out) for place in used)
        whole = self.ranks[-1][0] == 0 or self.tiles[0] == (0, self.n_in, 0, self.n_out)
        if not whole or not (self.by_columns or all(place[:2] == (0, self.n_in) for place in used)):
            must = "the first tile must be the whole matrix, and the others must have all rows or all columns"
            raise LayerError(self.name, must)

    def _tile(self, tile, first, rank):
        if rank == 0:
            return (0, 0, 0, 0)
        own = self.spans[:, first : first + rank]
        differs = (own != own[:, :1]).any(dim=0).nonzero()
        if len(differs) > 0:
            other = first + int(differs[0])
            must = f"must have the spans of block {first}, with which it makes tile {tile}"
            raise LayerError(self.name, f"block {other} {must}")
        return tuple(int(each) for each in own[:, 0])

    def cost(self, ranks):
        """The number of parameters that staggered spans take, as `gblr export --keep` writes them."""
        total = 0
        for tile, rank in enumerate(ranks):
            common = 0 if tile == 0 else ranks[0]
            _, columns, _, rows = self.tiles[tile]
            total += _staggered(rows - (common if self.by_columns else 0), rank)
            total += _staggered(columns - (0 if self.by_columns else common), rank)
        return total

    def cut(self, ranks):
        blocks, inputs, outputs = [], [], []
        at_in = at_out = 0
        for tile, (first, rank) in enumerate(zip(self.firsts, ranks)):
            _, columns, _, rows = self.tiles[tile]
            blocks.append(self.spans[:, first : first + rank])
            inputs.append((at_in, at_in + rank * columns))
            outputs.append((at_out, at_out + rank * rows))
            at_in += self.ranks[-1][tile] * columns
            at_out += self.ranks[-1][tile] * rows
        values_in, values_out = self.tensor("values_in"), self.tensor("values_out")
        return {
            "spans": torch.cat(blocks, 1).clone(),
            "values_in": torch.cat([values_in[start:end] for start, end in inputs]),
            "values_out": torch.cat([values_out[start:end] for start, end in outputs]),
        }


def _staggered(length, rank):
    """Sum of the lengths of spans on a side, each one sample shorter than the one before, but at least 2."""
    long = max(0, min(rank, length - 1))
    return long * length - long * (long - 1) // 2 + 2 * (rank - long)


def ranks_within(layers, allowed):
    """The ranks of the tiles of each layer with which all layers have at most `allowed` parameters. Between two sizes
    ranks rise evenly: the i-th of d ranks is added at i / d of the way, if it still fits."""
    nothing = [[[0] * len(layer.ranks[0]) for layer in layers]]
    ways = nothing + [[list(layer.ranks[size]) for layer in layers] for size in range(len(layers[0].ranks))]
    size = 0
    while size + 1 < len(ways) and _total(layers, ways[size + 1]) <= allowed:
        size += 1
    kept = ways[size]
    if size + 1 == len(ways):
        return kept
    costs = [layer.cost(ranks) for layer, ranks in zip(layers, kept)]
    steps = []
    for index, (before, after) in enumerate(zip(kept, ways[size + 1])):
        for tile, (low, high) in enumerate(zip(before, after)):
            steps += [((i + 1) / (high - low), index, tile) for i in range(high - low)]
    total = sum(costs)
    for _, index, tile in sorted(steps):
        kept[index][tile] += 1
        cost = layers[index].cost(kept[index])
        if total - costs[index] + cost <= allowed:
            total, costs[index] = total - costs[index] + cost, cost
        else:
            kept[index][tile] -= 1
    return kept


def _total(layers, ranks):
    return sum(layer.cost(own) for layer, own in zip(layers, ranks))

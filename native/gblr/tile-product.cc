// gblr::tile_product computes y = x Vᵀ U + b for a packed GBLR matrix whose blocks are sorted into tiles
// (workbench/gblr/block-tiles.ts): the blocks of a tile share an interval of inputs and one of outputs, so that both
// factors are a few small dense matrices. Each of them is one product with views of the tensors, by the library of the
// device. In mixed precision, values are converted at each call, and y is rounded once for each matrix of outputs. There
// is no gradient.
#include <ATen/Functions.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <cstdint>
#include <vector>

#include "../compat.h"

namespace gblr {

namespace {

// A matrix of a factor, between an interval of inputs or outputs and blocks that follow each other.
struct Tile {
  int64_t start, length; // the interval
  int64_t first, blocks; // the first block, and their number
  at::Tensor values;     // length · blocks
};

// The matrices of a factor from triples: start, length, number of blocks.
std::vector<Tile> tiles_of(const at::Tensor& values, at::IntArrayRef triples, int64_t width, int64_t blocks,
                           const char* side) {
  TORCH_CHECK(values.dim() == 1, "values must have one dimension");
  TORCH_CHECK(triples.size() % 3 == 0, "tiles must be triples");
  std::vector<Tile> tiles;
  int64_t used = 0, seen = 0;
  for (size_t i = 0; i < triples.size(); i += 3) {
    const int64_t start = triples[i], length = triples[i + 1], count = triples[i + 2];
    TORCH_CHECK(start >= 0 && length >= 1 && count >= 1 && start + length <= width, "tile ", i / 3, " lies outside of ",
                width, " ", side);
    tiles.push_back({start, length, seen, count, {}});
    seen += count;
    used += length * count;
  }
  TORCH_CHECK(seen == blocks, "tiles of ", side, " have ", seen, " blocks, not ", blocks);
  TORCH_CHECK(used == values.numel(), "tiles of ", side, " cover ", used, " values, got ", values.numel());
  int64_t at = 0;
  for (Tile& tile : tiles) {
    tile.values = values.narrow(0, at, tile.length * tile.blocks);
    at += tile.length * tile.blocks;
  }
  return tiles;
}

at::Tensor tile_product(const at::Tensor& x, const at::Tensor& values_in, at::IntArrayRef tiles_in,
                        const at::Tensor& values_out, at::IntArrayRef tiles_out, const Optional<at::Tensor>& bias,
                        int64_t blocks, int64_t n_out) {
  TORCH_CHECK(x.dim() >= 1, "x must have at least one dimension");
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == n_out), "bias must have ", n_out, " values");
  // The operators below write into tensors, which automatic mixed precision does not cover.
  const at::ScalarType type = autocast_type(x.device().type()).value_or(at::kFloat);
  const auto inputs = tiles_of(values_in.to(type), tiles_in, x.size(-1), blocks, "inputs");
  const auto outputs = tiles_of(values_out.to(type), tiles_out, n_out, blocks, "outputs");
  const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(type);
  const at::Tensor z = at::empty({rows.size(0), blocks}, rows.options());
  for (const Tile& tile : inputs) {
    at::Tensor part = z.narrow(1, tile.first, tile.blocks);
    at::mm_out(part, rows.narrow(1, tile.start, tile.length), tile.values.view({tile.length, tile.blocks}));
  }
  const at::Tensor y = at::zeros({rows.size(0), n_out}, rows.options());
  if (bias) y.copy_(*bias);
  for (const Tile& tile : outputs)
    y.narrow(1, tile.start, tile.length)
        .addmm_(z.narrow(1, tile.first, tile.blocks), tile.values.view({tile.blocks, tile.length}));
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = n_out;
  return y.view(shape);
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def(
      "tile_product(Tensor x, Tensor values_in, int[] tiles_in, Tensor values_out, int[] tiles_out, Tensor? bias, "
      "int blocks, int n_out) -> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CompositeExplicitAutograd, m) { m.impl("tile_product", tile_product); }

} // namespace gblr

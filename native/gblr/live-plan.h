// How the product with the live blocks of a GBLR matrix is divided in training. Blocks are put into an order in which
// neighbors have similar spans, and are taken in groups. A group is a matrix product with the part of a side that covers
// the spans of its blocks. live-plan.cc makes plans, and live-product.cc computes products by them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "gaudi-mask.h"

namespace gblr {

// `length` samples of a circle from `start` on.
struct Arc {
  int64_t start, length;
};

// The blocks at places first … last - 1 of an order, and an arc that covers their spans.
struct Group {
  int64_t first, last;
  Arc arc;
};

// Some blocks on one side of a matrix: their rows in the factors (K · rank, n), in an order.
struct BlockOrder {
  std::vector<int64_t> rows;
  std::vector<Group> groups;
};

// Some blocks, on each side in an order of its own.
struct BlockSet {
  BlockOrder in, out;
};

struct Plan {
  // both masks are other than 0
  BlockSet live;
  // the mask of the output side, or that of the input side, is 0; its width has a gradient. Arcs of that side cover the
  // derivative of the mask
  BlockSet out_dead, in_dead;
};

// An arc that begins and ends `margin` samples further outside.
Arc widened(const Arc& arc, int64_t margin, int64_t n);

// The one or two straight parts of an arc.
std::vector<Samples> parts_of(const Arc& arc, int64_t n);

// A plan as a tensor int32, and back. `rows` is the number of rows of the factors. Every index is checked.
at::Tensor tensor_of(const Plan& plan);
Plan plan_of(const at::Tensor& tensor, int64_t rows, int64_t n_in, int64_t n_out);

} // namespace gblr

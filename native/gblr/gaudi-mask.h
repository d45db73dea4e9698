// Windows of Gaudi masks, and one row of a mask and of its gradients. gaudi-mask.cc computes whole masks with them, and
// live-product.cc those of the blocks that it multiplies.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace gblr {

// A window rounded to whole samples; start and end lie in [0, n).
struct Window {
  int64_t start, end;
  int64_t samples;
  float width; // as a share of n
};

// Two copies of a table, one after the other, so that the table shifted along the circle is a contiguous part of it.
struct DoubledTable {
  int64_t n;
  std::vector<float> values;

  explicit DoubledTable(const at::Tensor& table) : n(table.size(0)), values(2 * n) {
    const float* first = table.data_ptr<float>();
    std::copy(first, first + n, values.begin());
    std::copy(first, first + n, values.begin() + n);
  }

  // n values of the table shifted to an edge
  const float* at_edge(int64_t edge) const { return values.data() + n - edge; }
};

inline int64_t wrapped(double position, int64_t n) {
  if (!std::isfinite(position)) return 0;
  const double rest = position - n * std::floor(position / n);
  return std::clamp<int64_t>(static_cast<int64_t>(rest), 0, n - 1);
}

inline Window rounded_window(float width, float location, int64_t n, bool evaluate) {
  // In float32, as on every other engine, so that ties round the same way.
  float samples = std::nearbyint(width * static_cast<float>(n));
  const float first = std::nearbyint(location * static_cast<float>(n));
  if (evaluate && std::abs(samples) <= 1) samples = 0;
  const double last = static_cast<double>(first) + samples;
  return {wrapped(first, n), wrapped(last, n), wrapped(samples, n), samples / static_cast<float>(n)};
}

// Samples first … last - 1 of a side.
struct Samples {
  int64_t first, last;
};

// The sums of values weighted by the derivatives of a mask with respect to its width and its location.
struct PlaceSums {
  float width, location;
};

// The mask of a window (n). A boxcar is exactly 0 and 1, and does not use the table.
void fill_mask(const Window& window, const DoubledTable& edges, bool is_boxcar, float* mask);

// The sums over some samples of dy (n).
PlaceSums place_sums(const float* dy, const Window& window, const DoubledTable& slopes, const Samples& of);

} // namespace gblr

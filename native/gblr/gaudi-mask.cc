// Gaudi masks. gblr::gaudi_mask computes K windows (K, n) on a circle of n samples from the table (n) of their edge
// function, gblr::gaudi_mask_backward their gradients from the table (n) of its slope. On the CPU each operator is one
// loop over rows; on other devices it is a composition of ATen operators. workbench/engine/ops/gblr/gaudi-mask.ts
// defines the tables.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../vectorized.h"
#include "gaudi-mask.h"

namespace gblr {

namespace {

constexpr float kLeastEntry = 1e-3f;
constexpr int64_t kGrain = 1 << 15; // minimum entries per thread

GBLR_VECTORIZED void difference(const float* start, const float* end, float width, int64_t n, float* mask) {
  for (int64_t j = 0; j < n; ++j) mask[j] = (start[j] - end[j]) + width;
}

GBLR_VECTORIZED void cut(int64_t n, float* mask) {
  for (int64_t j = 0; j < n; ++j) mask[j] = std::abs(mask[j]) > kLeastEntry ? mask[j] : 0;
}

// Exactly 1 inside the window and 0 outside. A window longer than the circle overlaps itself; the overlaps add up.
void boxcar(const Window& window, int64_t n, float* mask) {
  // Adding 0 turns -0 into 0.
  const float turns = 0.f + std::nearbyint(window.width - static_cast<float>(window.samples) / static_cast<float>(n));
  const int64_t stop = window.start + window.samples;
  std::fill(mask, mask + n, turns);
  std::fill(mask + window.start, mask + std::min(stop, n), turns + 1);
  if (stop > n) std::fill(mask, mask + stop - n, turns + 1);
}

GBLR_VECTORIZED PlaceSums weighted_sums(const float* dy, const float* start, const float* end, int64_t n) {
  Lanes to_width{}, to_location{};
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    const Lanes weight = lanes_at(dy + j), slope = lanes_at(end + j);
    to_width += weight * slope;
    to_location += weight * (slope - lanes_at(start + j));
  }
  PlaceSums sums{sum_of(to_width), sum_of(to_location)};
  for (; j < n; ++j) {
    sums.width += dy[j] * end[j];
    sums.location += dy[j] * (end[j] - start[j]);
  }
  return sums;
}

} // namespace

void fill_mask(const Window& window, const DoubledTable& edges, bool is_boxcar, float* mask) {
  if (is_boxcar) return boxcar(window, edges.n, mask);
  difference(edges.at_edge(window.start), edges.at_edge(window.end), window.width, edges.n, mask);
}

PlaceSums place_sums(const float* dy, const Window& window, const DoubledTable& slopes, const Samples& of) {
  const float *start = slopes.at_edge(window.start), *end = slopes.at_edge(window.end);
  return weighted_sums(dy + of.first, start + of.first, end + of.first, of.last - of.first);
}

namespace {

void check(const at::Tensor& widths, const at::Tensor& locations, const at::Tensor& table) {
  TORCH_CHECK(widths.dim() == 1 && locations.sizes() == widths.sizes(), "widths and locations must both be (K), got ",
              widths.sizes(), " and ", locations.sizes());
  TORCH_CHECK(table.dim() == 1 && table.size(0) >= 1, "the table must be (n) with n at least 1, got ", table.sizes());
}

at::Tensor dense(const at::Tensor& tensor) { return tensor.to(at::kFloat).contiguous(); }

int64_t grain(int64_t n) { return std::max<int64_t>(1, kGrain / n); }

at::Tensor gaudi_mask_cpu(const at::Tensor& widths, const at::Tensor& locations, const at::Tensor& edges, bool is_boxcar,
                          bool evaluate) {
  check(widths, locations, edges);
  const at::Tensor w = dense(widths), l = dense(locations), table = dense(edges);
  const DoubledTable edge_function(table);
  const int64_t n = edge_function.n, count = w.numel();
  at::Tensor mask = at::empty({count, n}, w.options());
  const float *width = w.data_ptr<float>(), *location = l.data_ptr<float>();
  float* out = mask.data_ptr<float>();
  at::parallel_for(0, count, grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      float* row = out + k * n;
      fill_mask(rounded_window(width[k], location[k], n, evaluate), edge_function, is_boxcar, row);
      if (evaluate && !is_boxcar) cut(n, row);
    }
  });
  return mask;
}

std::tuple<at::Tensor, at::Tensor> gaudi_mask_backward_cpu(const at::Tensor& dy, const at::Tensor& widths,
                                                           const at::Tensor& locations, const at::Tensor& slopes) {
  check(widths, locations, slopes);
  const at::Tensor w = dense(widths), l = dense(locations), table = dense(slopes), outer = dense(dy);
  const DoubledTable slope(table);
  const int64_t n = slope.n, count = w.numel();
  TORCH_CHECK(outer.dim() == 2 && outer.size(0) == count && outer.size(1) == n, "dy must be (", count, ", ", n,
              "), got ", outer.sizes());
  at::Tensor to_width = at::empty({count}, w.options()), to_location = at::empty({count}, w.options());
  const float *width = w.data_ptr<float>(), *location = l.data_ptr<float>(), *rows = outer.data_ptr<float>();
  float *width_out = to_width.data_ptr<float>(), *location_out = to_location.data_ptr<float>();
  at::parallel_for(0, count, grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const Window window = rounded_window(width[k], location[k], n, false);
      const PlaceSums sums = place_sums(rows + k * n, window, slope, {0, n});
      width_out[k] = sums.width;
      location_out[k] = sums.location;
    }
  });
  return {to_width, to_location};
}

// The same functions as compositions of ATen operators, for devices other than the CPU.

struct Windows {
  at::Tensor start, end;     // (K, 1) int64
  at::Tensor samples, width; // (K, 1)
};

Windows windows_of(const at::Tensor& widths, const at::Tensor& locations, int64_t n, bool evaluate) {
  const at::Tensor w = widths.to(at::kFloat).unsqueeze(1), l = locations.to(at::kFloat).unsqueeze(1);
  at::Tensor samples = (w * n).round();
  if (evaluate) samples = samples * (samples.abs() > 1);
  const at::Tensor first = (l * n).round();
  return {first.remainder(n).to(at::kLong), (first + samples).remainder(n).to(at::kLong), samples, samples / n};
}

at::Tensor positions(int64_t n, const at::Tensor& like) { return at::arange(n, like.options().dtype(at::kLong)); }

// table (n) → (K, n), row k shifted to the k-th edge
at::Tensor shifted(const at::Tensor& table, const at::Tensor& edge) {
  const int64_t n = table.size(0);
  return table.take((positions(n, table) - edge).remainder(n));
}

at::Tensor gaudi_mask_composed(const at::Tensor& widths, const at::Tensor& locations, const at::Tensor& edges,
                               bool is_boxcar, bool evaluate) {
  check(widths, locations, edges);
  const int64_t n = edges.size(0);
  const Windows windows = windows_of(widths, locations, n, evaluate);
  if (is_boxcar) {
    const at::Tensor turns = (windows.samples / n).floor(), length = windows.samples - turns * n;
    return ((positions(n, edges) - windows.start).remainder(n) < length).to(at::kFloat) + turns;
  }
  const at::Tensor mask = shifted(edges, windows.start) - shifted(edges, windows.end) + windows.width;
  return evaluate ? mask * (mask.abs() > kLeastEntry) : mask;
}

std::tuple<at::Tensor, at::Tensor> gaudi_mask_backward_composed(const at::Tensor& dy, const at::Tensor& widths,
                                                                const at::Tensor& locations,
                                                                const at::Tensor& slopes) {
  check(widths, locations, slopes);
  const Windows windows = windows_of(widths, locations, slopes.size(0), false);
  const at::Tensor outer = dy.to(at::kFloat), to_width = shifted(slopes, windows.end);
  const at::Tensor to_location = to_width - shifted(slopes, windows.start);
  return {(outer * to_width).sum(1), (outer * to_location).sum(1)};
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("gaudi_mask(Tensor widths, Tensor locations, Tensor edges, bool boxcar, bool evaluate) -> Tensor");
  m.def("gaudi_mask_backward(Tensor dy, Tensor widths, Tensor locations, Tensor slopes) -> (Tensor, Tensor)");
  // The compositions have names of their own so that tests can call them without a GPU.
  m.def("gaudi_mask_composed(Tensor widths, Tensor locations, Tensor edges, bool boxcar, bool evaluate) -> Tensor");
  m.def("gaudi_mask_backward_composed(Tensor dy, Tensor widths, Tensor locations, Tensor slopes) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("gaudi_mask", gaudi_mask_cpu);
  m.impl("gaudi_mask_backward", gaudi_mask_backward_cpu);
}

TORCH_LIBRARY_IMPL(gblr, CUDA, m) {
  m.impl("gaudi_mask", gaudi_mask_composed);
  m.impl("gaudi_mask_backward", gaudi_mask_backward_composed);
}

TORCH_LIBRARY_IMPL(gblr, CompositeExplicitAutograd, m) {
  m.impl("gaudi_mask_composed", gaudi_mask_composed);
  m.impl("gaudi_mask_backward_composed", gaudi_mask_backward_composed);
}

} // namespace gblr

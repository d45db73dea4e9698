// Gaudi masks: gblr::gaudi_mask makes K windows on a circle of n samples from the table of their edge function,
// gblr::gaudi_mask_backward their gradient from the table of its slope. On the CPU each is one loop over rows, on other
// devices a composition of ATen operators. workbench/engine/ops/gblr/gaudi-mask.ts says what the tables hold.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../vectorized.h"

namespace gblr {

namespace {

constexpr float kLeastEntry = 1e-3f;
constexpr int64_t kGrain = 1 << 15; // least entries for each thread

// Where a window begins and ends, in samples; edges lie in [0, n).
struct Window {
  int64_t start, end;
  double start_fraction, end_fraction; // from -½ to ½
  int64_t samples;                     // rounded windows only
  float width;                         // as a share of n
};

// Two copies of a row, one after the other: a row shifted along the circle is then a contiguous part of it.
struct Series {
  const float* rows;
  int64_t terms, n;
  std::vector<float> doubled;

  explicit Series(const at::Tensor& table) : rows(table.data_ptr<float>()), terms(table.size(0)), n(table.size(1)) {
    doubled.resize(2 * n);
    std::copy(rows, rows + n, doubled.begin());
    std::copy(rows, rows + n, doubled.begin() + n);
  }
};

int64_t wrapped(double position, int64_t n) {
  if (!std::isfinite(position)) return 0;
  const double rest = position - n * std::floor(position / n);
  return std::clamp<int64_t>(static_cast<int64_t>(rest), 0, n - 1);
}

Window rounded_window(float width, float location, int64_t n, bool evaluate) {
  // In float32 like every other engine, so that ties round the same way.
  float samples = std::nearbyint(width * static_cast<float>(n));
  const float first = std::nearbyint(location * static_cast<float>(n));
  if (evaluate && std::abs(samples) <= 1) samples = 0;
  const double last = static_cast<double>(first) + samples;
  return {wrapped(first, n), wrapped(last, n), 0, 0, wrapped(samples, n), samples / static_cast<float>(n)};
}

Window exact_window(float width, float location, int64_t n) {
  const double begin = static_cast<double>(location) * n, end = begin + static_cast<double>(width) * n;
  const double first = std::nearbyint(begin), last = std::nearbyint(end);
  return {wrapped(first, n), wrapped(last, n), begin - first, end - last, 0, width};
}

// The function of the series shifted to an edge: n values from the returned address on. `space` holds 2n values; one
// term needs none.
GBLR_VECTORIZED void sum_series(const float* rows, int64_t terms, int64_t n, double fraction, float* space) {
  std::copy(rows, rows + n, space);
  double power = 1;
  for (int64_t m = 1; m < terms; ++m) {
    power *= fraction;
    const float factor = static_cast<float>(power);
    const float* row = rows + m * n;
    for (int64_t j = 0; j < n; ++j) space[j] += factor * row[j];
  }
  std::copy(space, space + n, space + n);
}

const float* at_edge(const Series& series, int64_t edge, double fraction, float* space) {
  const float* base = series.doubled.data();
  if (series.terms > 1) {
    sum_series(series.rows, series.terms, series.n, fraction, space);
    base = space;
  }
  return base + series.n - edge;
}

GBLR_VECTORIZED void difference(const float* start, const float* end, float width, int64_t n, float* mask) {
  for (int64_t j = 0; j < n; ++j) mask[j] = (start[j] - end[j]) + width;
}

GBLR_VECTORIZED void cut(int64_t n, float* mask) {
  for (int64_t j = 0; j < n; ++j) mask[j] = std::abs(mask[j]) > kLeastEntry ? mask[j] : 0;
}

// Exactly 1 inside and 0 outside; where a window longer than the circle overlaps itself, the sum.
void boxcar(const Window& window, int64_t n, float* mask) {
  // + 0 because the result may be -0.
  const float turns = 0.f + std::nearbyint(window.width - static_cast<float>(window.samples) / static_cast<float>(n));
  const int64_t stop = window.start + window.samples;
  std::fill(mask, mask + n, turns);
  std::fill(mask + window.start, mask + std::min(stop, n), turns + 1);
  if (stop > n) std::fill(mask, mask + stop - n, turns + 1);
}

struct Sums {
  float width, location;
};

GBLR_VECTORIZED Sums weighted_sums(const float* dy, const float* start, const float* end, int64_t n) {
  Lanes to_width{}, to_location{};
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    const Lanes weight = lanes_at(dy + j), slope = lanes_at(end + j);
    to_width += weight * slope;
    to_location += weight * (slope - lanes_at(start + j));
  }
  Sums sums{sum_of(to_width), sum_of(to_location)};
  for (; j < n; ++j) {
    sums.width += dy[j] * end[j];
    sums.location += dy[j] * (end[j] - start[j]);
  }
  return sums;
}

void check(const at::Tensor& widths, const at::Tensor& locations, const at::Tensor& table) {
  TORCH_CHECK(widths.dim() == 1 && locations.sizes() == widths.sizes(), "widths and locations must be one list each, ",
              "equally long, got ", widths.sizes(), " and ", locations.sizes());
  TORCH_CHECK(table.dim() == 2 && table.size(0) >= 1 && table.size(1) >= 1, "the table must be (terms, n), got ",
              table.sizes());
}

at::Tensor dense(const at::Tensor& tensor) { return tensor.to(at::kFloat).contiguous(); }

int64_t grain(int64_t n) { return std::max<int64_t>(1, kGrain / n); }

at::Tensor gaudi_mask_cpu(const at::Tensor& widths, const at::Tensor& locations, const at::Tensor& edges, bool is_boxcar,
                          bool evaluate) {
  check(widths, locations, edges);
  const at::Tensor w = dense(widths), l = dense(locations), table = dense(edges);
  const Series series(table);
  const int64_t n = series.n, count = w.numel();
  const bool rounded = series.terms == 1;
  at::Tensor mask = at::empty({count, n}, w.options());
  const float *width = w.data_ptr<float>(), *location = l.data_ptr<float>();
  float* out = mask.data_ptr<float>();
  at::parallel_for(0, count, grain(n), [&](int64_t begin, int64_t end) {
    std::vector<float> from_space(rounded ? 0 : 2 * n), to_space(from_space);
    for (int64_t k = begin; k < end; ++k) {
      const Window window =
          rounded ? rounded_window(width[k], location[k], n, evaluate) : exact_window(width[k], location[k], n);
      float* row = out + k * n;
      if (is_boxcar) {
        boxcar(window, n, row);
        continue;
      }
      const float* from = at_edge(series, window.start, window.start_fraction, from_space.data());
      const float* to = at_edge(series, window.end, window.end_fraction, to_space.data());
      difference(from, to, window.width, n, row);
      if (evaluate) cut(n, row);
    }
  });
  return mask;
}

std::tuple<at::Tensor, at::Tensor> gaudi_mask_backward_cpu(const at::Tensor& dy, const at::Tensor& widths,
                                                           const at::Tensor& locations, const at::Tensor& slopes) {
  check(widths, locations, slopes);
  const at::Tensor w = dense(widths), l = dense(locations), table = dense(slopes), outer = dense(dy);
  const Series series(table);
  const int64_t n = series.n, count = w.numel();
  TORCH_CHECK(outer.dim() == 2 && outer.size(0) == count && outer.size(1) == n, "dy must be (", count, ", ", n,
              "), got ", outer.sizes());
  const bool rounded = series.terms == 1;
  at::Tensor to_width = at::empty({count}, w.options()), to_location = at::empty({count}, w.options());
  const float *width = w.data_ptr<float>(), *location = l.data_ptr<float>(), *rows = outer.data_ptr<float>();
  float *width_out = to_width.data_ptr<float>(), *location_out = to_location.data_ptr<float>();
  at::parallel_for(0, count, grain(n), [&](int64_t begin, int64_t end) {
    std::vector<float> from_space(rounded ? 0 : 2 * n), to_space(from_space);
    for (int64_t k = begin; k < end; ++k) {
      const Window window =
          rounded ? rounded_window(width[k], location[k], n, false) : exact_window(width[k], location[k], n);
      const float* from = at_edge(series, window.start, window.start_fraction, from_space.data());
      const float* to = at_edge(series, window.end, window.end_fraction, to_space.data());
      const Sums sums = weighted_sums(rows + k * n, from, to, n);
      width_out[k] = sums.width;
      location_out[k] = sums.location;
    }
  });
  return {to_width, to_location};
}

// The same as compositions, for devices other than the CPU.

struct Windows {
  at::Tensor start, end;                   // (K, 1) int64
  at::Tensor start_fraction, end_fraction; // (K, 1), undefined where rounded
  at::Tensor samples, width;               // (K, 1)
};

Windows windows_of(const at::Tensor& widths, const at::Tensor& locations, int64_t terms, int64_t n, bool evaluate) {
  const at::Tensor w = widths.to(at::kFloat).unsqueeze(1), l = locations.to(at::kFloat).unsqueeze(1);
  if (terms > 1) {
    const at::Tensor begin = l.to(at::kDouble) * n, end = begin + w.to(at::kDouble) * n;
    const at::Tensor first = begin.round(), last = end.round();
    return {first.remainder(n).to(at::kLong), last.remainder(n).to(at::kLong), (begin - first).to(at::kFloat),
            (end - last).to(at::kFloat), {}, w};
  }
  at::Tensor samples = (w * n).round();
  if (evaluate) samples = samples * (samples.abs() > 1);
  const at::Tensor first = (l * n).round();
  return {first.remainder(n).to(at::kLong), (first + samples).remainder(n).to(at::kLong), {}, {}, samples, samples / n};
}

at::Tensor positions(int64_t n, const at::Tensor& like) { return at::arange(n, like.options().dtype(at::kLong)); }

// (terms, n) → (K, n), row k shifted to the k-th edge
at::Tensor shifted(const at::Tensor& series, const at::Tensor& edge, const at::Tensor& fraction) {
  const int64_t terms = series.size(0), n = series.size(1);
  const at::Tensor index = (positions(n, series) - edge).remainder(n);
  if (terms == 1) return series.select(0, 0).take(index);
  std::vector<at::Tensor> powers{at::ones_like(fraction)};
  while (static_cast<int64_t>(powers.size()) < terms) powers.push_back(powers.back() * fraction);
  return at::cat(powers, 1).mm(series).gather(1, index);
}

at::Tensor gaudi_mask_composed(const at::Tensor& widths, const at::Tensor& locations, const at::Tensor& edges,
                               bool is_boxcar, bool evaluate) {
  check(widths, locations, edges);
  const int64_t n = edges.size(1);
  const Windows windows = windows_of(widths, locations, edges.size(0), n, evaluate);
  if (is_boxcar) {
    const at::Tensor turns = (windows.samples / n).floor(), length = windows.samples - turns * n;
    return ((positions(n, edges) - windows.start).remainder(n) < length).to(at::kFloat) + turns;
  }
  const at::Tensor mask = shifted(edges, windows.start, windows.start_fraction) -
                          shifted(edges, windows.end, windows.end_fraction) + windows.width;
  return evaluate ? mask * (mask.abs() > kLeastEntry) : mask;
}

std::tuple<at::Tensor, at::Tensor> gaudi_mask_backward_composed(const at::Tensor& dy, const at::Tensor& widths,
                                                                const at::Tensor& locations,
                                                                const at::Tensor& slopes) {
  check(widths, locations, slopes);
  const Windows windows = windows_of(widths, locations, slopes.size(0), slopes.size(1), false);
  const at::Tensor outer = dy.to(at::kFloat), to_width = shifted(slopes, windows.end, windows.end_fraction);
  const at::Tensor to_location = to_width - shifted(slopes, windows.start, windows.start_fraction);
  return {(outer * to_width).sum(1), (outer * to_location).sum(1)};
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("gaudi_mask(Tensor widths, Tensor locations, Tensor edges, bool boxcar, bool evaluate) -> Tensor");
  m.def("gaudi_mask_backward(Tensor dy, Tensor widths, Tensor locations, Tensor slopes) -> (Tensor, Tensor)");
  // The compositions have names of their own, so that they can be tested without a GPU.
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

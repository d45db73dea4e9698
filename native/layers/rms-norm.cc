// RMS normalization on the CPU: gblr::rms_norm computes x / √(mean(x²) + ε) · gain and 1/rms of each row,
// gblr::rms_norm_backward the gradients. Each reads a row once from memory.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>

#include "../elementwise.h"
#include "../vectorized.h"

namespace gblr {

namespace {

GBLR_VECTORIZED void forward_rows(const float* __restrict x, const float* __restrict gain, float* __restrict y,
                                  float* __restrict inverse, int64_t width, float epsilon, int64_t begin,
                                  int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* from = x + row * width;
    Lanes lanes{};
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) lanes += lanes_at(from + i) * lanes_at(from + i);
    float sum = sum_of(lanes);
    for (; i < width; ++i) sum += from[i] * from[i];
    const float scale = 1 / std::sqrt(sum / static_cast<float>(width) + epsilon);
    float* to = y + row * width;
    for (i = 0; i < width; ++i) to[i] = from[i] * scale * gain[i];
    inverse[row] = scale;
  }
}

// With x̂ = x/rms and g = dy · gain: dx = (g - x̂ mean(g x̂)) / rms. Adds Σ dy x̂ to dgain.
GBLR_VECTORIZED void backward_rows(const float* __restrict dy, const float* __restrict x, const float* __restrict gain,
                                   const float* __restrict inverse, float* __restrict dx, float* __restrict dgain,
                                   int64_t width, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float *outer = dy + row * width, *from = x + row * width;
    Lanes lanes{};
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) lanes += lanes_at(outer + i) * lanes_at(gain + i) * lanes_at(from + i);
    float sum = sum_of(lanes);
    for (; i < width; ++i) sum += outer[i] * gain[i] * from[i];
    const float scale = inverse[row];
    const float along = sum / static_cast<float>(width) * scale * scale;
    float* to = dx + row * width;
    for (i = 0; i < width; ++i) {
      to[i] = (outer[i] * gain[i] - from[i] * along) * scale;
      dgain[i] += outer[i] * (from[i] * scale);
    }
  }
}

int64_t check(const at::Tensor& x, const at::Tensor& gain) {
  expect_float(x);
  expect_float(gain);
  TORCH_CHECK(x.dim() >= 1 && gain.dim() == 1 && gain.size(0) == x.size(-1), "gain must be (", x.size(-1), "), got ",
              gain.sizes());
  return x.size(-1);
}

int64_t rows_of(const at::Tensor& x, int64_t width) { return width == 0 ? 0 : x.numel() / width; }

std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& gain, double epsilon) {
  const int64_t width = check(x, gain);
  const at::Tensor input = x.contiguous(), factors = gain.contiguous();
  auto sizes = x.sizes().vec();
  sizes.back() = 1;
  at::Tensor y = at::empty(x.sizes(), x.options()), inverse = at::empty(sizes, x.options());
  const float *from = input.data_ptr<float>(), *gains = factors.data_ptr<float>();
  float *to = y.data_ptr<float>(), *scales = inverse.data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width));
  at::parallel_for(0, rows_of(x, width), grain, [&](int64_t begin, int64_t end) {
    forward_rows(from, gains, to, scales, width, static_cast<float>(epsilon), begin, end);
  });
  return {y, inverse};
}

std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& gain,
                                                     const at::Tensor& inverse_rms) {
  const int64_t width = check(x, gain), rows = rows_of(x, width);
  expect_float(dy);
  expect_float(inverse_rms);
  TORCH_CHECK(dy.sizes() == x.sizes(), "dy must have the shape of x, ", x.sizes(), ", got ", dy.sizes());
  TORCH_CHECK(inverse_rms.numel() == rows, "inverse_rms must have ", rows, " values, got ", inverse_rms.numel());
  const at::Tensor outer = dy.contiguous(), input = x.contiguous(), factors = gain.contiguous(),
                   scales = inverse_rms.contiguous();
  at::Tensor dx = at::empty(x.sizes(), x.options());
  // Each part of the rows has its own sum, so that threads do not write to the same one.
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), rows * width / kGrain));
  at::Tensor sums = at::zeros({parts, width}, gain.options());
  const float *above = outer.data_ptr<float>(), *from = input.data_ptr<float>(), *gains = factors.data_ptr<float>(),
              *inverse = scales.data_ptr<float>();
  float *to = dx.data_ptr<float>(), *dgain = sums.data_ptr<float>();
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part)
      backward_rows(above, from, gains, inverse, to, dgain + part * width, width, part * rows / parts,
                    (part + 1) * rows / parts);
  });
  return {dx, parts == 1 ? sums.view({width}) : sums.sum(0)};
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("rms_norm(Tensor x, Tensor gain, float epsilon) -> (Tensor, Tensor)");
  m.def("rms_norm_backward(Tensor dy, Tensor x, Tensor gain, Tensor inverse_rms) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("rms_norm", rms_norm);
  m.impl("rms_norm_backward", rms_norm_backward);
}

} // namespace gblr

// Rotary positions on the CPU: gblr::rotary rotates components i and i + r/2 of each row of x (batch, heads, tokens,
// head_dim) by the angles of its token, and copies components from r on. x may be a view of (batch, tokens, heads,
// head_dim); the result is contiguous, so that one pass also brings heads together.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>

#include "../elementwise.h"
#include "../vectorized.h"

namespace gblr {

namespace {

struct Sizes {
  int64_t heads, tokens, head_dim, half;
  int64_t batch_stride, head_stride, token_stride; // of x
};

GBLR_VECTORIZED void rotate_rows(const float* __restrict x, const float* __restrict cos, const float* __restrict sin,
                                 float* __restrict y, const Sizes& sizes, float sign, int64_t begin, int64_t end) {
  const int64_t half = sizes.half;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t token = row % sizes.tokens, head = row / sizes.tokens % sizes.heads,
                  entry = row / sizes.tokens / sizes.heads;
    const float* from =
        x + entry * sizes.batch_stride + head * sizes.head_stride + token * sizes.token_stride;
    const float *c = cos + token * half, *s = sin + token * half;
    float* to = y + row * sizes.head_dim;
    for (int64_t i = 0; i < half; ++i) {
      const float first = from[i], second = from[i + half], sine = sign * s[i];
      to[i] = first * c[i] - second * sine;
      to[i + half] = second * c[i] + first * sine;
    }
    for (int64_t i = 2 * half; i < sizes.head_dim; ++i) to[i] = from[i];
  }
}

// With `inverse` the angles are negated, which gives the gradient.
at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  expect_float(x);
  expect_float(cos);
  expect_float(sin);
  TORCH_CHECK(x.dim() == 4, "x must be (batch, heads, tokens, head_dim), got ", x.sizes());
  TORCH_CHECK(cos.dim() == 2 && cos.size(0) == x.size(2) && 2 * cos.size(1) <= x.size(3) && sin.sizes() == cos.sizes(),
              "cos and sin must be (", x.size(2), ", r/2) with r at most ", x.size(3), ", got ", cos.sizes(), " and ",
              sin.sizes());
  const at::Tensor input = x.stride(3) == 1 ? x : x.contiguous();
  const at::Tensor cosines = cos.contiguous(), sines = sin.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  const Sizes sizes{x.size(1),       x.size(2),       x.size(3),      cos.size(1),
                    input.stride(0), input.stride(1), input.stride(2)};
  const float *from = input.data_ptr<float>(), *c = cosines.data_ptr<float>(), *s = sines.data_ptr<float>();
  float* to = y.data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, sizes.head_dim));
  at::parallel_for(0, x.size(0) * x.size(1) * x.size(2), grain, [&](int64_t begin, int64_t end) {
    rotate_rows(from, c, s, to, sizes, inverse ? -1 : 1, begin, end);
  });
  return y;
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) { m.def("rotary(Tensor x, Tensor cos, Tensor sin, bool inverse) -> Tensor"); }

TORCH_LIBRARY_IMPL(gblr, CPU, m) { m.impl("rotary", rotary); }

} // namespace gblr

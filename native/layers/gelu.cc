// The tanh form of gelu on the CPU: gblr::gelu_tanh, gblr::gelu_tanh_ in place and gblr::gelu_tanh_backward, each one
// pass over memory. ATen's operators compute tanh and take four times as long; these compute a sigmoid. The exact form
// of gelu is left to ATen.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>

#include "../elementwise.h"
#include "../vectorized.h"

namespace gblr {

namespace {

// `y` may be `x`.
GBLR_VECTORIZED void forward_range(const float* x, float* y, int64_t begin, int64_t end) {
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) {
    const float v = x[i];
    // Not v / (1 + …), which the compiler would compute once for each bound of the exponential.
    const float s = 1 / (1 + exponential(-v * (kGeluLinear + kGeluCubic * v * v)));
    y[i] = v * s;
  }
}

GBLR_VECTORIZED void backward_range(const float* __restrict dy, const float* __restrict x, float* __restrict dx,
                                    int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float v = x[i], square = v * v;
    const float e = exponential(-v * (kGeluLinear + kGeluCubic * square));
    const float s = 1 / (1 + e);
    // s (1 - s) as e s², because 1 - s loses digits where s is near 1
    dx[i] = dy[i] * (s + v * (e * s * s) * (kGeluLinear + 3 * kGeluCubic * square));
  }
}

at::Tensor gelu_tanh(const at::Tensor& x) {
  expect_float(x);
  const at::Tensor input = x.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  const float* from = input.data_ptr<float>();
  float* to = y.data_ptr<float>();
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) { forward_range(from, to, begin, end); });
  return y;
}

void gelu_tanh_in_place(at::Tensor x) {
  expect_float(x);
  TORCH_CHECK(x.is_contiguous(), "in place expects a contiguous tensor");
  float* values = x.data_ptr<float>();
  at::parallel_for(0, x.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { forward_range(values, values, begin, end); });
}

at::Tensor gelu_tanh_backward(const at::Tensor& dy, const at::Tensor& x) {
  expect_float(dy);
  expect_float(x);
  TORCH_CHECK(dy.sizes() == x.sizes(), "dy must have the shape of x, ", x.sizes(), ", got ", dy.sizes());
  const at::Tensor outer = dy.contiguous(), input = x.contiguous();
  at::Tensor dx = at::empty(x.sizes(), x.options());
  const float *above = outer.data_ptr<float>(), *from = input.data_ptr<float>();
  float* to = dx.data_ptr<float>();
  at::parallel_for(0, x.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { backward_range(above, from, to, begin, end); });
  return dx;
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("gelu_tanh(Tensor x) -> Tensor");
  m.def("gelu_tanh_(Tensor(a!) x) -> ()");
  m.def("gelu_tanh_backward(Tensor dy, Tensor x) -> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("gelu_tanh", gelu_tanh);
  m.impl("gelu_tanh_", gelu_tanh_in_place);
  m.impl("gelu_tanh_backward", gelu_tanh_backward);
}

} // namespace gblr

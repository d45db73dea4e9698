// The tanh form of gelu on the CPU: gblr::gelu_tanh, gblr::gelu_tanh_ in place and gblr::gelu_tanh_backward, each one
// pass over memory. ATen's operators compute tanh and take four times as long; these compute a sigmoid. The exact form
// of gelu is left to ATen.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "vectorized.h"

namespace gblr {

namespace {

constexpr int64_t kGrain = 1 << 15; // minimum values per thread

// (1 + tanh u) / 2 = sigmoid(2u), and 2u = x (kLinear + kCubic x²): Hendrycks and Gimpel 2016.
constexpr float kLinear = 1.5957691216f; // 2 √(2/π)
constexpr float kCubic = 0.044715f * kLinear;

// e^x within 2e-7, in operations that the compiler can vectorize: e^x = 2^n e^r with |r| ≤ ln 2 / 2, with the
// polynomial of the Cephes library.
inline float exponential(float x) {
  constexpr float kRound = 12582912.f; // 1.5 · 2^23: adding it rounds a number to an integer
  constexpr uint32_t kRoundBits = 0x4B400000;
  x = std::min(std::max(x, -87.f), 88.f);
  const float rounded = x * 1.44269504f + kRound;
  const float n = rounded - kRound;
  const float r = x - n * 0.693359375f - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1;
  uint32_t bits; // unsigned, because the sum overflows for NaN; p is NaN then
  std::memcpy(&bits, &rounded, sizeof bits);
  bits = (bits - kRoundBits + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

// `y` may be `x`.
GBLR_VECTORIZED void forward_range(const float* x, float* y, int64_t begin, int64_t end) {
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) {
    const float v = x[i];
    // Not v / (1 + …), which the compiler would compute once for each bound of the exponential.
    const float s = 1 / (1 + exponential(-v * (kLinear + kCubic * v * v)));
    y[i] = v * s;
  }
}

GBLR_VECTORIZED void backward_range(const float* __restrict dy, const float* __restrict x, float* __restrict dx,
                                    int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float v = x[i], square = v * v;
    const float e = exponential(-v * (kLinear + kCubic * square));
    const float s = 1 / (1 + e);
    // s (1 - s) as e s², because 1 - s loses digits where s is near 1
    dx[i] = dy[i] * (s + v * (e * s * s) * (kLinear + 3 * kCubic * square));
  }
}

void check(const at::Tensor& x) {
  TORCH_CHECK(x.scalar_type() == at::kFloat, "expects float32, got ", x.scalar_type());
}

at::Tensor gelu_tanh(const at::Tensor& x) {
  check(x);
  const at::Tensor input = x.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  const float* from = input.data_ptr<float>();
  float* to = y.data_ptr<float>();
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) { forward_range(from, to, begin, end); });
  return y;
}

void gelu_tanh_in_place(at::Tensor x) {
  check(x);
  TORCH_CHECK(x.is_contiguous(), "in place expects a contiguous tensor");
  float* values = x.data_ptr<float>();
  at::parallel_for(0, x.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { forward_range(values, values, begin, end); });
}

at::Tensor gelu_tanh_backward(const at::Tensor& dy, const at::Tensor& x) {
  check(dy);
  check(x);
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

// What the operators of native/layers share: the exponential, the coefficients of gelu, the least work of a thread, and
// the check of their operands.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace gblr {

constexpr int64_t kGrain = 1 << 15; // minimum values per thread

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

// (1 + tanh u) / 2 = sigmoid(2u), and the tanh form of gelu has 2u = x (kGeluLinear + kGeluCubic x²): Hendrycks and
// Gimpel 2016.
constexpr float kGeluLinear = 1.5957691216f; // 2 √(2/π)
constexpr float kGeluCubic = 0.044715f * kGeluLinear;

inline void expect_float(const at::Tensor& x) {
  TORCH_CHECK(x.scalar_type() == at::kFloat, "expects float32, got ", x.scalar_type());
}

} // namespace gblr

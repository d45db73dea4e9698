// gblr::few_rows_product computes x Wᵀ + b for a few rows of x, as in the generation of one token. The weight is float32,
// bfloat16 or float16. The product reads the weight once, converts it in registers and adds in float32. A BLAS copies
// the weight into blocks first, which is only faster for many rows.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "../compat.h"
#include "../vectorized.h"

// How a vector is returned does not matter, because the functions below that return one are always inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace gblr {

namespace {

constexpr int64_t kGrain = 1 << 15; // minimum multiply-adds per thread

typedef uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t Words __attribute__((vector_size(64)));

inline __attribute__((always_inline)) Lanes as_floats(const Words& words) {
  Lanes lanes;
  std::memcpy(&lanes, &words, sizeof lanes);
  return lanes;
}

// Each format widens one value, and sixteen values at once.
struct Float32 {
  using Value = float;
  static inline __attribute__((always_inline)) Lanes wide(const float* values) { return lanes_at(values); }
  static inline __attribute__((always_inline)) float wide_one(float value) { return value; }
};

struct Bfloat16 {
  using Value = uint16_t;
  static inline __attribute__((always_inline)) Lanes wide(const uint16_t* bits) {
    return as_floats(__builtin_convertvector(*reinterpret_cast<const Halves*>(bits), Words) << 16);
  }
  static inline __attribute__((always_inline)) float wide_one(uint16_t bits) {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
};

struct Float16 {
  using Value = uint16_t;
  // The exponent of float16 has bias 15, that of float32 has bias 127: the product with 2^112 corrects it, also for
  // subnormal numbers. Infinity and NaN keep the largest exponent.
  static inline __attribute__((always_inline)) Lanes wide(const uint16_t* bits) {
    const Words words = __builtin_convertvector(*reinterpret_cast<const Halves*>(bits), Words);
    const Words size = (words & 0x7fff) << 13;
    Lanes lanes = as_floats(size) * 0x1p112f;
    Words found;
    std::memcpy(&found, &lanes, sizeof found);
    const Words special = reinterpret_cast<Words>(size >= (0x7c00u << 13)) & 0x7f800000u;
    return as_floats(found | special | ((words & 0x8000) << 16));
  }
  static inline __attribute__((always_inline)) float wide_one(uint16_t bits) {
    const uint32_t size = static_cast<uint32_t>(bits & 0x7fff) << 13;
    float value;
    std::memcpy(&value, &size, sizeof value);
    value *= 0x1p112f;
    uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    word |= (size >= (0x7c00u << 13) ? 0x7f800000u : 0u) | static_cast<uint32_t>(bits & 0x8000) << 16;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
};

template <typename Format>
inline __attribute__((always_inline)) float dot(const float* x, const typename Format::Value* weight,
                                                int64_t count) {
  Lanes even{}, odd{};
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    even += lanes_at(x + i) * Format::wide(weight + i);
    odd += lanes_at(x + i + kLanes) * Format::wide(weight + i + kLanes);
  }
  float sum = sum_of(even + odd);
  for (; i < count; ++i) sum += x[i] * Format::wide_one(weight[i]);
  return sum;
}

// sum += factor · row of the weight
template <typename Format>
inline __attribute__((always_inline)) void add_scaled(float factor, const typename Format::Value* weight,
                                                      int64_t count, float* sum) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Lanes& lanes = *reinterpret_cast<Lanes*>(sum + i);
    lanes += factor * Format::wide(weight + i);
  }
  for (; i < count; ++i) sum[i] += factor * Format::wide_one(weight[i]);
}

struct Product {
  const float* x;      // (rows, n_in)
  const void* weight;  // (n_out, n_in), or (n_in, n_out)
  float* y;            // (rows, n_out), which holds the bias or zeros
  int64_t rows, n_in, n_out;
};

// Outputs begin … end of each row, for a weight (n_out, n_in).
template <typename Format>
inline __attribute__((always_inline)) void by_outputs(const Product& p, int64_t begin, int64_t end) {
  const auto* weight = static_cast<const typename Format::Value*>(p.weight);
  for (int64_t out = begin; out < end; ++out)
    for (int64_t row = 0; row < p.rows; ++row)
      p.y[row * p.n_out + out] += dot<Format>(p.x + row * p.n_in, weight + out * p.n_in, p.n_in);
}

// The same for a weight (n_in, n_out).
template <typename Format>
inline __attribute__((always_inline)) void by_inputs(const Product& p, int64_t begin, int64_t end) {
  const auto* weight = static_cast<const typename Format::Value*>(p.weight);
  for (int64_t in = 0; in < p.n_in; ++in)
    for (int64_t row = 0; row < p.rows; ++row)
      add_scaled<Format>(p.x[row * p.n_in + in], weight + in * p.n_out + begin, end - begin,
                         p.y + row * p.n_out + begin);
}

using Range = void(const Product&, int64_t begin, int64_t end);

GBLR_VECTORIZED void float32_by_outputs(const Product& p, int64_t begin, int64_t end) {
  by_outputs<Float32>(p, begin, end);
}
GBLR_VECTORIZED void float32_by_inputs(const Product& p, int64_t begin, int64_t end) {
  by_inputs<Float32>(p, begin, end);
}
GBLR_VECTORIZED void bfloat16_by_outputs(const Product& p, int64_t begin, int64_t end) {
  by_outputs<Bfloat16>(p, begin, end);
}
GBLR_VECTORIZED void bfloat16_by_inputs(const Product& p, int64_t begin, int64_t end) {
  by_inputs<Bfloat16>(p, begin, end);
}
GBLR_VECTORIZED void float16_by_outputs(const Product& p, int64_t begin, int64_t end) {
  by_outputs<Float16>(p, begin, end);
}
GBLR_VECTORIZED void float16_by_inputs(const Product& p, int64_t begin, int64_t end) {
  by_inputs<Float16>(p, begin, end);
}

Range* range_for(c10::ScalarType type, bool in_out) {
  if (type == at::kFloat) return in_out ? float32_by_inputs : float32_by_outputs;
  if (type == at::kBFloat16) return in_out ? bfloat16_by_inputs : bfloat16_by_outputs;
  TORCH_CHECK(type == at::kHalf, "expects a weight in float32, bfloat16 or float16, got ", type);
  return in_out ? float16_by_inputs : float16_by_outputs;
}

at::Tensor few_rows_product(const at::Tensor& x, const at::Tensor& weight, const Optional<at::Tensor>& bias,
                            bool in_out) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(in_out ? 0 : 1),
              "x and weight do not fit: ", x.sizes(), " and ", weight.sizes());
  const int64_t n_in = weight.size(in_out ? 0 : 1), n_out = weight.size(in_out ? 1 : 0);
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == n_out), "bias must be (", n_out, ")");
  // A transposed view is a weight of the other layout, without a copy.
  const bool turned = !weight.is_contiguous() && weight.t().is_contiguous();
  const at::Tensor input = x.to(at::kFloat).contiguous(), held = turned ? weight.t() : weight.contiguous();
  auto sizes = x.sizes().vec();
  sizes.back() = n_out;
  at::Tensor y = at::empty(sizes, input.options());
  const int64_t rows = n_out == 0 ? 0 : y.numel() / n_out;
  if (bias) {
    y.copy_(bias->expand(sizes));
  } else {
    y.zero_();
  }
  const Product product{input.data_ptr<float>(), held.data_ptr(), y.data_ptr<float>(), rows, n_in, n_out};
  Range* const run = range_for(weight.scalar_type(), in_out != turned);
  const int64_t work = std::max<int64_t>(1, rows * n_in);
  at::parallel_for(0, n_out, std::max<int64_t>(4 * kLanes, kGrain / work),
                   [&](int64_t begin, int64_t end) { run(product, begin, end); });
  return y;
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("few_rows_product(Tensor x, Tensor weight, Tensor? bias, bool in_out) -> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("few_rows_product", few_rows_product);
}

} // namespace gblr

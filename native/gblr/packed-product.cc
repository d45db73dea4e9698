// gblr::packed_product computes x times the transpose of a packed GBLR matrix. For each block it takes one dot product
// with a span of x and adds one scaled span to y; spans are cyclic. The CPU operator is a loop over rows and blocks; on
// other devices it is two dense products.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "../compat.h"
#include "../vectorized.h"

namespace gblr {

namespace {

constexpr int64_t kGrain = 1 << 15; // minimum multiply-adds per thread

// One side of a block: a span on a circle of n samples, and where its values begin.
struct Span {
  int64_t start, length, values;
};

struct Block {
  Span in, out;
};

GBLR_VECTORIZED float dot(const float* a, const float* b, int64_t count) {
  Lanes lanes{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) lanes += lanes_at(a + i) * lanes_at(b + i);
  float sum = sum_of(lanes);
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

GBLR_VECTORIZED void add_scaled(float factor, const float* a, int64_t count, float* sum) {
  for (int64_t i = 0; i < count; ++i) sum[i] += factor * a[i];
}

float dot_span(const float* x, const float* values, const Span& span, int64_t n) {
  const int64_t straight = std::min(span.length, n - span.start);
  return dot(x + span.start, values, straight) + dot(x, values + straight, span.length - straight);
}

void add_span(float factor, const float* values, const Span& span, int64_t n, float* y) {
  const int64_t straight = std::min(span.length, n - span.start);
  add_scaled(factor, values, straight, y + span.start);
  add_scaled(factor, values + straight, span.length - straight, y);
}

// Checks every index that the loops use before they run.
std::vector<Block> blocks_of(const at::Tensor& spans, int64_t n_in, int64_t n_out, int64_t values_in,
                             int64_t values_out) {
  TORCH_CHECK(spans.dim() == 2 && spans.size(0) == 4, "spans must be (4, B), got ", spans.sizes());
  const at::Tensor rows = spans.to(at::kCPU, at::kLong).contiguous();
  const int64_t count = rows.size(1);
  const int64_t* at = rows.data_ptr<int64_t>();
  std::vector<Block> blocks(count);
  int64_t used_in = 0, used_out = 0;
  for (int64_t b = 0; b < count; ++b) {
    const Span in{at[b], at[count + b], used_in}, out{at[2 * count + b], at[3 * count + b], used_out};
    TORCH_CHECK(in.start >= 0 && in.start < n_in && in.length >= 1 && in.length <= n_in && out.start >= 0 &&
                    out.start < n_out && out.length >= 1 && out.length <= n_out,
                "block ", b, " lies outside a matrix of ", n_out, " by ", n_in);
    blocks[b] = {in, out};
    used_in += in.length;
    used_out += out.length;
  }
  TORCH_CHECK(used_in == values_in && used_out == values_out, "spans cover ", used_in, " and ", used_out,
              " values, got ", values_in, " and ", values_out);
  return blocks;
}

void check(const at::Tensor& x, const at::Tensor& values_in, const at::Tensor& values_out,
           const Optional<at::Tensor>& bias, int64_t n_out) {
  TORCH_CHECK(x.dim() == 2 && x.size(1) >= 1 && n_out >= 1, "x must be (rows, n_in), got ", x.sizes());
  TORCH_CHECK(values_in.dim() == 1 && values_out.dim() == 1, "values must be (values) on each side");
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == n_out), "bias must be (", n_out, ")");
}

at::Tensor packed_product_cpu(const at::Tensor& x, const at::Tensor& spans, const at::Tensor& values_in,
                              const at::Tensor& values_out, const Optional<at::Tensor>& bias, int64_t n_out) {
  check(x, values_in, values_out, bias, n_out);
  const int64_t rows = x.size(0), n_in = x.size(1);
  const std::vector<Block> blocks = blocks_of(spans, n_in, n_out, values_in.numel(), values_out.numel());
  const at::Tensor dense = x.to(at::kFloat).contiguous();
  const at::Tensor in = values_in.to(at::kFloat).contiguous(), out = values_out.to(at::kFloat).contiguous();
  at::Tensor y = at::empty({rows, n_out}, dense.options());
  if (bias) {
    y.copy_(bias->to(at::kFloat).expand({rows, n_out}));
  } else {
    y.zero_();
  }
  const float *from = dense.data_ptr<float>(), *v = in.data_ptr<float>(), *u = out.data_ptr<float>();
  float* to = y.data_ptr<float>();
  const int64_t work = std::max<int64_t>(1, in.numel() + out.numel());
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (const Block& block : blocks) {
        const float z = dot_span(from + row * n_in, v + block.in.values, block.in, n_in);
        add_span(z, u + block.out.values, block.out, n_out, to + row * n_out);
      }
  });
  return y;
}

// Row b holds the values of block b at its span on the circle and zeros elsewhere: (B, n).
at::Tensor spread(const at::Tensor& start, const at::Tensor& length, const at::Tensor& values, int64_t n) {
  const at::Tensor lengths = length.to(at::kLong), ends = lengths.cumsum(0);
  const at::Tensor offset =
      (at::arange(n, lengths.options()) - start.to(at::kLong).unsqueeze(1)).remainder(n); // within the span
  const at::Tensor inside = offset < lengths.unsqueeze(1);
  const at::Tensor index = (ends - lengths).unsqueeze(1) + offset * inside;
  return values.to(at::kFloat).take(index) * inside;
}

at::Tensor packed_product_composed(const at::Tensor& x, const at::Tensor& spans, const at::Tensor& values_in,
                                   const at::Tensor& values_out, const Optional<at::Tensor>& bias, int64_t n_out) {
  check(x, values_in, values_out, bias, n_out);
  const int64_t rows = x.size(0), n_in = x.size(1);
  const at::Tensor start = bias ? bias->to(at::kFloat).expand({rows, n_out})
                                : at::zeros({rows, n_out}, x.options().dtype(at::kFloat));
  if (values_in.numel() == 0) return start.contiguous();
  const at::Tensor input = spread(spans.select(0, 0), spans.select(0, 1), values_in, n_in);
  const at::Tensor output = spread(spans.select(0, 2), spans.select(0, 3), values_out, n_out);
  return at::addmm(start, x.to(at::kFloat).mm(input.t()), output);
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def(
      "packed_product(Tensor x, Tensor spans, Tensor values_in, Tensor values_out, Tensor? bias, int n_out) -> Tensor");
  // The composition has a name of its own so that tests can call it without a GPU.
  m.def(
      "packed_product_composed(Tensor x, Tensor spans, Tensor values_in, Tensor values_out, Tensor? bias, int n_out) "
      "-> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) { m.impl("packed_product", packed_product_cpu); }

TORCH_LIBRARY_IMPL(gblr, CUDA, m) { m.impl("packed_product", packed_product_composed); }

TORCH_LIBRARY_IMPL(gblr, CompositeExplicitAutograd, m) { m.impl("packed_product_composed", packed_product_composed); }

} // namespace gblr

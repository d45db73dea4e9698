// gblr::weight computes W = Uᵀ V of masked factors (K, n_out) and (K, n_in), gblr::weight_backward its gradients. The
// CPU operators skip blocks whose masks are empty. At a common budget of a quarter of the dense cost most blocks are.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

namespace gblr {

namespace {

constexpr int64_t kRowGrain = 16;
// Selecting rows copies them, which is slower than the full product when only a few rows are empty.
constexpr double kWorthwhile = 0.95;

using Flags = std::vector<char>;

Flags filled_rows(const at::Tensor& rows) {
  const int64_t count = rows.size(0), n = rows.size(1);
  const float* values = rows.data_ptr<float>();
  Flags filled(count);
  at::parallel_for(0, count, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k)
      filled[k] = std::any_of(values + k * n, values + (k + 1) * n, [](float value) { return value != 0; });
  });
  return filled;
}

at::Tensor positions(const Flags& chosen) {
  const int64_t count = std::count(chosen.begin(), chosen.end(), 1);
  at::Tensor index = at::empty({count}, at::kLong);
  int64_t* at = index.data_ptr<int64_t>();
  for (size_t k = 0; k < chosen.size(); ++k)
    if (chosen[k]) *at++ = static_cast<int64_t>(k);
  return index;
}

bool worthwhile(const at::Tensor& index, const at::Tensor& rows) {
  return static_cast<double>(index.size(0)) < kWorthwhile * static_cast<double>(rows.size(0));
}

void check(const at::Tensor& output, const at::Tensor& input) {
  TORCH_CHECK(output.dim() == 2 && input.dim() == 2 && output.size(0) == input.size(0),
              "factors must be (K, n_out) and (K, n_in), got ", output.sizes(), " and ", input.sizes());
}

at::Tensor weight_dense(const at::Tensor& output, const at::Tensor& input) {
  check(output, input);
  return output.t().mm(input);
}

std::tuple<at::Tensor, at::Tensor> weight_backward_dense(const at::Tensor& dy, const at::Tensor& output,
                                                         const at::Tensor& input) {
  check(output, input);
  return {input.mm(dy.t()), output.mm(dy)};
}

// A block contributes to W only if neither of its factors is empty.
at::Tensor weight_cpu(const at::Tensor& output, const at::Tensor& input) {
  check(output, input);
  const at::Tensor u = output.to(at::kFloat).contiguous(), v = input.to(at::kFloat).contiguous();
  Flags both = filled_rows(u);
  const Flags columns = filled_rows(v);
  for (size_t k = 0; k < both.size(); ++k) both[k] = both[k] && columns[k];
  const at::Tensor index = positions(both);
  if (!worthwhile(index, u)) return weight_dense(u, v);
  return u.index_select(0, index).t().mm(v.index_select(0, index));
}

// Σ_j dy[…, j] other[k, j], zero where the other factor is empty.
at::Tensor factor_gradient(const at::Tensor& other, const at::Tensor& dy) {
  const at::Tensor index = positions(filled_rows(other));
  if (!worthwhile(index, other)) return other.mm(dy);
  at::Tensor gradient = at::zeros({other.size(0), dy.size(1)}, other.options());
  // A product may be bfloat16 when the engine computes in that precision.
  return gradient.index_copy_(0, index, other.index_select(0, index).mm(dy).to(at::kFloat));
}

std::tuple<at::Tensor, at::Tensor> weight_backward_cpu(const at::Tensor& dy, const at::Tensor& output,
                                                       const at::Tensor& input) {
  check(output, input);
  const at::Tensor outer = dy.to(at::kFloat);
  const at::Tensor u = output.to(at::kFloat).contiguous(), v = input.to(at::kFloat).contiguous();
  return {factor_gradient(v, outer.t()), factor_gradient(u, outer)};
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("weight(Tensor output, Tensor input) -> Tensor");
  m.def("weight_backward(Tensor dy, Tensor output, Tensor input) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("weight", weight_cpu);
  m.impl("weight_backward", weight_backward_cpu);
}

TORCH_LIBRARY_IMPL(gblr, CUDA, m) {
  m.impl("weight", weight_dense);
  m.impl("weight_backward", weight_backward_dense);
}

} // namespace gblr

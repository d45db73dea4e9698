// Gated activations on the CPU: gblr::gated_activation computes activation(gate) · up, gblr::gated_activation_backward
// its gradients, each in one pass over memory. The activation is silu (swish of slope 1) or, with `tanh`, the tanh form
// of gelu. Both are x times a sigmoid of x (linear + cubic x²).
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>
#include <tuple>

#include "../elementwise.h"
#include "../vectorized.h"

namespace gblr {

namespace {

struct Form {
  float linear, cubic;
};

constexpr Form form_of(bool tanh) { return tanh ? Form{kGeluLinear, kGeluCubic} : Form{1, 0}; }

GBLR_VECTORIZED void forward_range(const float* __restrict gate, const float* __restrict up, float* __restrict y,
                                   Form form, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float v = gate[i];
    const float s = 1 / (1 + exponential(-v * (form.linear + form.cubic * v * v)));
    y[i] = v * s * up[i];
  }
}


GBLR_VECTORIZED void backward_range(const float* __restrict dy, const float* __restrict gate,
                                    const float* __restrict up, float* __restrict dgate, float* __restrict dup,
                                    Form form, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float v = gate[i], square = v * v;
    const float e = exponential(-v * (form.linear + form.cubic * square));
    const float s = 1 / (1 + e);
    // s (1 - s) as e s², because 1 - s loses digits where s is near 1
    const float slope = s + v * (e * s * s) * (form.linear + 3 * form.cubic * square);
    dgate[i] = dy[i] * up[i] * slope;
    dup[i] = dy[i] * v * s;
  }
}

void check(const at::Tensor& gate, const at::Tensor& up) {
  expect_float(gate);
  expect_float(up);
  TORCH_CHECK(up.sizes() == gate.sizes(), "expects the shape of gate, ", gate.sizes(), ", got ", up.sizes());
}

at::Tensor gated_activation(const at::Tensor& gate, const at::Tensor& up, bool tanh) {
  check(gate, up);
  const at::Tensor left = gate.contiguous(), right = up.contiguous();
  at::Tensor y = at::empty(gate.sizes(), gate.options());
  const float *g = left.data_ptr<float>(), *u = right.data_ptr<float>();
  float* to = y.data_ptr<float>();
  const Form form = form_of(tanh);
  at::parallel_for(0, gate.numel(), kGrain,
                   [&](int64_t begin, int64_t end) { forward_range(g, u, to, form, begin, end); });
  return y;
}

std::tuple<at::Tensor, at::Tensor> gated_activation_backward(const at::Tensor& dy, const at::Tensor& gate,
                                                             const at::Tensor& up, bool tanh) {
  check(gate, up);
  check(gate, dy);
  const at::Tensor outer = dy.contiguous(), left = gate.contiguous(), right = up.contiguous();
  at::Tensor dgate = at::empty(gate.sizes(), gate.options()), dup = at::empty(gate.sizes(), gate.options());
  const float *above = outer.data_ptr<float>(), *g = left.data_ptr<float>(), *u = right.data_ptr<float>();
  float *to_gate = dgate.data_ptr<float>(), *to_up = dup.data_ptr<float>();
  const Form form = form_of(tanh);
  at::parallel_for(0, gate.numel(), kGrain, [&](int64_t begin, int64_t end) {
    backward_range(above, g, u, to_gate, to_up, form, begin, end);
  });
  return {dgate, dup};
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("gated_activation(Tensor gate, Tensor up, bool tanh) -> Tensor");
  m.def("gated_activation_backward(Tensor dy, Tensor gate, Tensor up, bool tanh) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("gated_activation", gated_activation);
  m.impl("gated_activation_backward", gated_activation_backward);
}

} // namespace gblr

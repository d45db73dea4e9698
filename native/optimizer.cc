// The optimizer's operators: gblr::adamw_ updates a group of parameters in one pass over memory, gblr::gradient_norm
// is the Euclidean norm over all gradients. On the CPU both are single loops. On other devices the norm uses ATen's
// foreach kernels, and so does the update where libtorch has no fused kernel of AdamW.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <torch/library.h>

#include <cmath>

#include "compat.h"
#include "vectorized.h"

// _foreach_mul takes the scale as a tensor from the same version on.
#if GBLR_TORCH_AT_LEAST(2, 1)
#define GBLR_FUSED_ADAMW
#include <ATen/ops/_fused_adamw.h>
#endif

namespace gblr {

namespace {

// The constants of one step of AdamW (Loshchilov and Hutter 2019, Algorithm 2), as in torch.optim.AdamW.
struct AdamW {
  float decay;           // 1 - lr · weight decay
  float beta1, beta2;
  float rest1, rest2;    // 1 - β, computed in double: 1 - 0.999f has a relative error of 5e-5
  float step_size;       // lr / (1 - β1^t)
  float bias_correction; // 1 / √(1 - β2^t)
  float epsilon;
  float gradient_scale;
};

GBLR_VECTORIZED void adamw_range(float* __restrict parameter, const float* __restrict gradient,
                                 float* __restrict first, float* __restrict second, int64_t begin, int64_t end,
                                 const AdamW& s) {
  for (int64_t i = begin; i < end; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    const float m = s.beta1 * first[i] + s.rest1 * g;
    const float v = s.beta2 * second[i] + s.rest2 * g * g;
    first[i] = m;
    second[i] = v;
    parameter[i] = parameter[i] * s.decay - s.step_size * m / (std::sqrt(v) * s.bias_correction + s.epsilon);
  }
}

GBLR_VECTORIZED double sum_of_squares(const float* values, int64_t begin, int64_t end) {
  // Sixteen independent sums: the compiler may not reorder a single one.
  double lanes[16] = {0};
  int64_t i = begin;
  for (; i + 16 <= end; i += 16)
    for (int lane = 0; lane < 16; ++lane) lanes[lane] += static_cast<double>(values[i + lane]) * values[i + lane];
  for (; i < end; ++i) lanes[0] += static_cast<double>(values[i]) * values[i];
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

constexpr int64_t kGrain = 1 << 15; // minimum elements per thread

void check_group(at::TensorList parameters, at::TensorList gradients, at::TensorList first, at::TensorList second) {
  TORCH_CHECK(parameters.size() == gradients.size() && parameters.size() == first.size() &&
                  parameters.size() == second.size(),
              "parameters, gradients and moments differ in number: ", parameters.size(), ", ", gradients.size(), ", ",
              first.size(), ", ", second.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    for (const auto& other : {gradients[i], first[i], second[i]})
      TORCH_CHECK(other.sizes() == parameters[i].sizes(), "parameter ", i, " has shape ", parameters[i].sizes(),
                  ", its gradient or moment ", other.sizes());
    for (const auto& state : {parameters[i], first[i], second[i]})
      TORCH_CHECK(state.is_contiguous() && state.scalar_type() == at::kFloat, "parameter ", i,
                  " and its moments must be contiguous float32");
  }
}

AdamW settings(double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, int64_t step,
               double gradient_scale) {
  TORCH_CHECK(step >= 1, "steps are counted from 1, got ", step);
  return {static_cast<float>(1 - learning_rate * weight_decay),
          static_cast<float>(beta1),
          static_cast<float>(beta2),
          static_cast<float>(1 - beta1),
          static_cast<float>(1 - beta2),
          static_cast<float>(learning_rate / (1 - std::pow(beta1, step))),
          static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, step))),
          static_cast<float>(epsilon),
          static_cast<float>(gradient_scale)};
}

void adamw_cpu(at::TensorList parameters, at::TensorList gradients, at::TensorList first, at::TensorList second,
               double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, int64_t step,
               const Optional<at::Tensor>& gradient_scale) {
  check_group(parameters, gradients, first, second);
  const double scale = gradient_scale ? gradient_scale->item<double>() : 1;
  const AdamW s = settings(learning_rate, beta1, beta2, epsilon, weight_decay, step, scale);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor gradient = gradients[i].contiguous().to(at::kFloat);
    float* p = parameters[i].data_ptr<float>();
    const float* g = gradient.data_ptr<float>();
    float* m = first[i].data_ptr<float>();
    float* v = second[i].data_ptr<float>();
    at::parallel_for(0, parameters[i].numel(), kGrain,
                     [&](int64_t begin, int64_t end) { adamw_range(p, g, m, v, begin, end, s); });
  }
}

void adamw_foreach(at::TensorList parameters, at::TensorList gradients, at::TensorList first, at::TensorList second,
                   double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, int64_t step,
                   const Optional<at::Tensor>& gradient_scale) {
  if (parameters.empty()) return;
  check_group(parameters, gradients, first, second);
  const AdamW s = settings(learning_rate, beta1, beta2, epsilon, weight_decay, step, 1);
  std::vector<at::Tensor> scaled;
  for (const auto& gradient : gradients) {
    const auto g = gradient.to(at::kFloat);
    scaled.push_back(gradient_scale ? g * *gradient_scale : g);
  }
  at::_foreach_mul_(parameters, at::Scalar(s.decay));
  at::_foreach_mul_(first, at::Scalar(s.beta1));
  at::_foreach_add_(first, scaled, at::Scalar(1 - beta1));
  at::_foreach_mul_(second, at::Scalar(s.beta2));
  at::_foreach_addcmul_(second, scaled, scaled, at::Scalar(1 - beta2));
  auto denominators = at::_foreach_sqrt(second);
  at::_foreach_mul_(denominators, at::Scalar(s.bias_correction));
  at::_foreach_add_(denominators, at::Scalar(epsilon));
  at::_foreach_addcdiv_(parameters, first, denominators, at::Scalar(-s.step_size));
}

// libtorch's kernel for all parameters, which passes over memory once. It has no kernel for the CPU before 2.4.
void adamw_fused(at::TensorList parameters, at::TensorList gradients, at::TensorList first, at::TensorList second,
                 double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, int64_t step,
                 const Optional<at::Tensor>& gradient_scale) {
#ifdef GBLR_FUSED_ADAMW
  check_group(parameters, gradients, first, second);
  TORCH_CHECK(step >= 1, "steps are counted from 1, got ", step);
  // The kernel wants the same strides in all lists, those of sides of length 1 included: flat views have them.
  std::vector<at::Tensor> lists[4];
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].numel() == 0) continue;
    const at::Tensor gradient = gradients[i].to(at::kFloat).contiguous();
    const at::Tensor* of[] = {&parameters[i], &gradient, &first[i], &second[i]};
    for (int list = 0; list < 4; ++list) lists[list].push_back(of[list]->view({-1}));
  }
  if (lists[0].empty()) return;
  if (gradient_scale) lists[1] = at::_foreach_mul(lists[1], *gradient_scale);
  const at::Tensor now = at::full({}, static_cast<double>(step), lists[0][0].options());
  const std::vector<at::Tensor> steps(lists[0].size(), now);
  at::_fused_adamw_(lists[0], lists[1], lists[2], lists[3], {}, steps, learning_rate, beta1, beta2, weight_decay,
                    epsilon, /*amsgrad=*/false, /*maximize=*/false);
#else
  adamw_foreach(parameters, gradients, first, second, learning_rate, beta1, beta2, epsilon, weight_decay, step,
                gradient_scale);
#endif
}

// Sums fixed pieces in a fixed order, so that the result does not depend on the number of threads.
at::Tensor gradient_norm_cpu(at::TensorList gradients) {
  double total = 0;
  for (const auto& gradient : gradients) {
    const at::Tensor dense = gradient.contiguous().to(at::kFloat);
    const float* values = dense.data_ptr<float>();
    const int64_t count = dense.numel(), pieces = (count + kGrain - 1) / kGrain;
    std::vector<double> sums(pieces);
    at::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece)
        sums[piece] = sum_of_squares(values, piece * kGrain, std::min(count, (piece + 1) * kGrain));
    });
    for (const double sum : sums) total += sum;
  }
  return at::scalar_tensor(std::sqrt(total), at::kFloat);
}

at::Tensor gradient_norm_foreach(at::TensorList gradients) {
  if (gradients.empty()) return at::scalar_tensor(0, at::kFloat);
  return at::stack(at::_foreach_norm(gradients, 2)).to(at::kFloat).norm();
}

} // namespace

TORCH_LIBRARY(gblr, m) {
  m.def(
      "adamw_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] first_moments, Tensor(c!)[] second_moments, "
      "float learning_rate, float beta1, float beta2, float epsilon, float weight_decay, int step, "
      "Tensor? gradient_scale=None) -> ()");
  m.def("gradient_norm(Tensor[] gradients) -> Tensor");
  // The forms of GPUs have names of their own so that tests can call them without one.
  m.def(
      "adamw_foreach_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] first_moments, Tensor(c!)[] "
      "second_moments, float learning_rate, float beta1, float beta2, float epsilon, float weight_decay, int step, "
      "Tensor? gradient_scale=None) -> ()");
  m.def(
      "adamw_fused_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] first_moments, Tensor(c!)[] "
      "second_moments, float learning_rate, float beta1, float beta2, float epsilon, float weight_decay, int step, "
      "Tensor? gradient_scale=None) -> ()");
  m.def("gradient_norm_foreach(Tensor[] gradients) -> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("adamw_", adamw_cpu);
  m.impl("gradient_norm", gradient_norm_cpu);
}

TORCH_LIBRARY_IMPL(gblr, CUDA, m) {
  m.impl("adamw_", adamw_fused);
  m.impl("gradient_norm", gradient_norm_foreach);
}

TORCH_LIBRARY_IMPL(gblr, CompositeExplicitAutograd, m) {
  m.impl("adamw_foreach_", adamw_foreach);
  m.impl("adamw_fused_", adamw_fused);
  m.impl("gradient_norm_foreach", gradient_norm_foreach);
}

} // namespace gblr

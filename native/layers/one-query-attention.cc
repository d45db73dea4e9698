// gblr::one_query_attention computes attention for one query per head, as in the generation of one token: softmax(scale q
// kᵀ) v, where a group of query heads may share keys and values. It reads keys and values once. The keys are divided into
// parts, so that all threads have work even if there are few heads; each part gives a sum that is relative to its largest
// score, and the sums are then combined (flash-decoding; Dao et al. 2023).
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "../elementwise.h"
#include "../vectorized.h"

namespace gblr {

namespace {

constexpr int64_t kPart = 128; // keys whose scores are held at once

// A (batch, heads, tokens, width) operand, contiguous along the width.
struct Heads {
  explicit Heads(const at::Tensor& x)
      : values(x.data_ptr<float>()), batch_stride(x.stride(0)), head_stride(x.stride(1)), token_stride(x.stride(2)) {}
  const float* row(int64_t entry, int64_t head, int64_t token) const {
    return values + entry * batch_stride + head * head_stride + token * token_stride;
  }
  const float* values;
  int64_t batch_stride, head_stride, token_stride;
};

struct Task {
  const float *q, *k, *v; // the first query of the group, the first key and value of the part
  int64_t q_stride, k_stride, v_stride;
  int64_t group, keys, head_dim, value_dim;
  float scale;
};

// For each query of the group: the largest score, the sum of e^(score - largest), and the sum of the values with these
// weights, in rows of value_dim + 2.
GBLR_VECTORIZED void attend_part(const Task& task, float* out) {
  float weights[kPart];
  for (int64_t head = 0; head < task.group; ++head) {
    const float* q = task.q + head * task.q_stride;
    float largest = -INFINITY;
    for (int64_t key = 0; key < task.keys; ++key) {
      const float* k = task.k + key * task.k_stride;
      Lanes lanes{};
      int64_t i = 0;
      for (; i + kLanes <= task.head_dim; i += kLanes) lanes += lanes_at(q + i) * lanes_at(k + i);
      float score = sum_of(lanes);
      for (; i < task.head_dim; ++i) score += q[i] * k[i];
      weights[key] = score * task.scale;
      largest = std::max(largest, weights[key]);
    }
    float total = 0;
    for (int64_t key = 0; key < task.keys; ++key) weights[key] = exponential(weights[key] - largest);
    for (int64_t key = 0; key < task.keys; ++key) total += weights[key];
    float* row = out + head * (task.value_dim + 2);
    row[0] = largest;
    row[1] = total;
    float* sums = row + 2;
    int64_t i = 0;
    for (; i + kLanes <= task.value_dim; i += kLanes) {
      Lanes lanes{};
      for (int64_t key = 0; key < task.keys; ++key) lanes += weights[key] * lanes_at(task.v + key * task.v_stride + i);
      *reinterpret_cast<Lanes*>(sums + i) = lanes;
    }
    for (; i < task.value_dim; ++i) {
      float sum = 0;
      for (int64_t key = 0; key < task.keys; ++key) sum += weights[key] * task.v[key * task.v_stride + i];
      sums[i] = sum;
    }
  }
}

// y = Σ e^(largest - overall) sums / Σ e^(largest - overall) total, over the parts of one query
void combine(const float* part, int64_t parts, int64_t stride, int64_t value_dim, float* y) {
  float overall = -INFINITY, total = 0;
  for (int64_t p = 0; p < parts; ++p) overall = std::max(overall, part[p * stride]);
  std::fill(y, y + value_dim, 0.f);
  for (int64_t p = 0; p < parts; ++p) {
    const float* row = part + p * stride;
    const float factor = exponential(row[0] - overall);
    total += factor * row[1];
    for (int64_t i = 0; i < value_dim; ++i) y[i] += factor * row[2 + i];
  }
  for (int64_t i = 0; i < value_dim; ++i) y[i] /= total;
}

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  for (const at::Tensor* x : {&q, &k, &v}) {
    expect_float(*x);
    TORCH_CHECK(x->dim() == 4, "expects (batch, heads, tokens, width), got ", x->sizes());
  }
  TORCH_CHECK(q.size(2) == 1 && k.size(2) >= 1, "expects one query and at least one key, got ", q.size(2), " and ",
              k.size(2));
  TORCH_CHECK(k.size(0) == q.size(0) && k.size(3) == q.size(3) && k.size(1) >= 1 && q.size(1) % k.size(1) == 0,
              "k does not fit: ", q.sizes(), " and ", k.sizes());
  TORCH_CHECK(v.size(0) == k.size(0) && v.size(1) == k.size(1) && v.size(2) == k.size(2), "v does not fit: ",
              k.sizes(), " and ", v.sizes());
}

at::Tensor one_query_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  check(q, k, v);
  const auto in_rows = [](const at::Tensor& x) { return x.stride(3) == 1 ? x : x.contiguous(); };
  const at::Tensor q_rows = in_rows(q), k_rows = in_rows(k), v_rows = in_rows(v);
  const Heads queries(q_rows), keys(k_rows), values(v_rows);
  const int64_t batch = q.size(0), heads = q.size(1), key_heads = k.size(1), tokens = k.size(2), group = heads / key_heads,
                head_dim = q.size(3), value_dim = v.size(3);
  const int64_t parts = (tokens + kPart - 1) / kPart, stride = value_dim + 2;
  // (batch, key_heads, parts, group, 2 + value_dim)
  const at::Tensor sums = at::empty({batch * key_heads * parts * group * stride}, q.options());
  float* out = sums.data_ptr<float>();
  const int64_t work = std::max<int64_t>(1, group * std::min(tokens, kPart) * (head_dim + value_dim));
  at::parallel_for(0, batch * key_heads * parts, std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t part = at % parts, head = at / parts % key_heads, entry = at / parts / key_heads;
      const int64_t first = part * kPart;
      const Task task{queries.row(entry, head * group, 0),
                      keys.row(entry, head, first),
                      values.row(entry, head, first),
                      queries.head_stride,
                      keys.token_stride,
                      values.token_stride,
                      group,
                      std::min(kPart, tokens - first),
                      head_dim,
                      value_dim,
                      static_cast<float>(scale)};
      attend_part(task, out + at * group * stride);
    }
  });
  at::Tensor y = at::empty({batch, heads, 1, value_dim}, q.options());
  float* to = y.data_ptr<float>();
  for (int64_t query = 0; query < batch * heads; ++query) {
    const float* first = out + (query / group * parts * group + query % group) * stride;
    combine(first, parts, group * stride, value_dim, to + query * value_dim);
  }
  return y;
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("one_query_attention(Tensor q, Tensor k, Tensor v, float scale) -> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) { m.impl("one_query_attention", one_query_attention); }

} // namespace gblr

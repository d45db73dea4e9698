// gblr::one_query_attention computes attention for one query per head, as in the generation of one token: softmax(scale q
// kᵀ) v, where a group of query heads may share keys and values. It reads keys and values once. The keys are divided into
// parts, so that all threads have work even if there are few heads; each part gives a sum that is relative to its largest
// score, and the sums are then combined (flash-decoding; Dao et al. 2023). gblr::paged_attention computes the same for one
// query each of several sequences, whose keys and values lie in pages of a pool that all sequences share; a part is a page
// (PagedAttention; Kwon et al. 2023).
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

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

void check_pages(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& pages,
                 const at::Tensor& lengths, int64_t size, int64_t window) {
  expect_float(q);
  TORCH_CHECK(q.dim() == 3, "expects queries (heads, sequences, width), got ", q.sizes());
  for (const at::Tensor* x : {&k, &v}) {
    expect_float(*x);
    TORCH_CHECK(x->dim() == 2 && x->is_contiguous(), "expects a pool of rows, got ", x->sizes());
  }
  TORCH_CHECK(size >= 1 && size <= kPart && k.size(0) % size == 0, "a page must have 1 to ", kPart,
              " positions, of which the pool has a multiple, got ", size);
  TORCH_CHECK(k.sizes() == v.sizes() && k.size(1) % q.size(2) == 0 && k.size(1) >= 1 &&
                  q.size(0) % (k.size(1) / q.size(2)) == 0,
              "k and v do not fit: ", q.sizes(), ", ", k.sizes(), " and ", v.sizes());
  TORCH_CHECK(pages.scalar_type() == at::kInt && pages.dim() == 2 && pages.size(0) == q.size(1) && pages.is_contiguous(),
              "pages must be int32 (", q.size(1), ", pages), got ", pages.sizes());
  TORCH_CHECK(lengths.scalar_type() == at::kInt && lengths.dim() == 1 && lengths.size(0) == q.size(1) &&
                  lengths.is_contiguous(),
              "lengths must be int32 (", q.size(1), "), got ", lengths.sizes());
  TORCH_CHECK(window >= 0, "window must be at least 0, got ", window);
  const int32_t *tables = pages.data_ptr<int32_t>(), *counts = lengths.data_ptr<int32_t>();
  const int64_t most = pages.size(1), pool = k.size(0) / size;
  for (int64_t sequence = 0; sequence < q.size(1); ++sequence) {
    const int64_t held = (counts[sequence] + size - 1) / size;
    TORCH_CHECK(counts[sequence] >= 1 && held <= most, "a sequence must have 1 to ", most * size, " keys, got ",
                counts[sequence]);
    for (int64_t i = 0; i < held; ++i) {
      const int32_t page = tables[sequence * most + i];
      TORCH_CHECK(page >= 0 && page < pool, "the pool has ", pool, " pages, got page ", page);
    }
  }
}

// The parts of one sequence: its pages from the one with the first key of the window on.
struct Span {
  int64_t first, keys; // the first key of the window, and the number of all keys
  int64_t first_page, parts;
};

Span span_of(int64_t keys, int64_t window, int64_t size) {
  const int64_t first = window > 0 ? std::max<int64_t>(0, keys - window) : 0;
  return {first, keys, first / size, (keys + size - 1) / size - first / size};
}

at::Tensor paged_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& pages,
                           const at::Tensor& lengths, int64_t size, double scale, int64_t window) {
  check_pages(q, k, v, pages, lengths, size, window);
  const at::Tensor queries = q.stride(2) == 1 ? q : q.contiguous();
  const int64_t heads = q.size(0), sequences = q.size(1), width = q.size(2), row = k.size(1), key_heads = row / width,
                group = heads / key_heads, most = pages.size(1), stride = width + 2;
  const int32_t* tables = pages.data_ptr<int32_t>();
  std::vector<Span> spans;
  std::vector<int64_t> starts{0}; // the first part of each sequence
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    spans.push_back(span_of(lengths.data_ptr<int32_t>()[sequence], window, size));
    starts.push_back(starts.back() + spans.back().parts);
  }
  // (parts of all sequences, key_heads, group, 2 + width)
  const at::Tensor sums = at::empty({starts.back() * heads * stride}, q.options());
  float* out = sums.data_ptr<float>();
  const int64_t work = group * size * 2 * width;
  const int64_t grain = std::max<int64_t>(1, kGrain / work);
  at::parallel_for(0, starts.back() * key_heads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t part = at / key_heads, head = at % key_heads;
      const int64_t sequence = std::upper_bound(starts.begin(), starts.end(), part) - starts.begin() - 1;
      const Span& span = spans[sequence];
      const int64_t index = span.first_page + part - starts[sequence];
      const int64_t first = std::max(span.first, index * size), last = std::min(span.keys, (index + 1) * size);
      const int64_t from = (tables[sequence * most + index] * size + first % size) * row + head * width;
      const Task task{queries.data_ptr<float>() + head * group * queries.stride(0) + sequence * queries.stride(1),
                      k.data_ptr<float>() + from,
                      v.data_ptr<float>() + from,
                      queries.stride(0),
                      row,
                      row,
                      group,
                      last - first,
                      width,
                      width,
                      static_cast<float>(scale)};
      attend_part(task, out + at * group * stride);
    }
  });
  at::Tensor y = at::empty({sequences, heads, width}, q.options());
  float* to = y.data_ptr<float>();
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    for (int64_t head = 0; head < heads; ++head) {
      const float* first = out + (starts[sequence] * heads + head) * stride;
      combine(first, spans[sequence].parts, heads * stride, width, to + (sequence * heads + head) * width);
    }
  }
  return y.transpose(0, 1);
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def("one_query_attention(Tensor q, Tensor k, Tensor v, float scale) -> Tensor");
  m.def("paged_attention(Tensor q, Tensor k, Tensor v, Tensor pages, Tensor lengths, int size, float scale, int window) "
        "-> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("one_query_attention", one_query_attention);
  m.impl("paged_attention", paged_attention);
}

} // namespace gblr

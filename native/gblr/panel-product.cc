// gblr::panel_product computes y = x Vᵀ U + b for a packed GBLR matrix whose factors are sorted into panels
// (workbench/gblr/panels.ts). Both are products x M with a matrix M (n_in, n_out) in which each column has only a few
// intervals of values other than zero: Vᵀ has the blocks as columns, U the outputs. Columns are taken in chunks of kWidth.
// A chunk lists the runs of rows of M that it needs, with their values; a run of which only one half of the chunk is
// needed holds the values of that half alone. Each value is read once for several rows of x, sums stay in registers, and
// each chunk of y is written once, by one thread.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../compat.h"

// How a vector is returned does not matter, because the functions below that return one are always inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

#define GBLR_INLINE inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GBLR_TARGET(name) __attribute__((target(name)))
#endif

namespace gblr {

namespace {

constexpr int64_t kHalf = 16;
constexpr int64_t kWidth = 2 * kHalf; // columns of a chunk
constexpr int64_t kRows = 12;         // parts of many rows begin at multiples of it
constexpr int64_t kGrain = 1 << 15;   // minimum multiply-adds per thread

// Columns of a chunk that a run has.
enum Columns : int64_t { kBoth, kFirst, kSecond };

// Rows start … start + count - 1 of M in one chunk. Their values begin at `values`, row after row.
struct Run {
  int64_t start, count, values;
  Columns columns;
};

// A chunk's runs, and its first value.
struct Chunk {
  int64_t run, runs, values;
};

struct Product {
  const float* x; // (rows, n_in)
  const float* values;
  const float* bias; // (n_out), or null
  float* y;          // (rows, n_out)
  int64_t rows, n_in, n_out;
  std::vector<Chunk> chunks;
  std::vector<Run> runs;
};

// N floats in one register.
template <int N>
struct Vector {
  typedef float Floats __attribute__((vector_size(4 * N), aligned(4), may_alias));
  static GBLR_INLINE Floats load(const float* at) { return *reinterpret_cast<const Floats*>(at); }
};

// How a part of a product is computed: R rows of x at a time, with V registers of N columns each. Rows of M are added to
// U sums in turn, so that one sum need not wait for the other.
template <int N, int R, int V, int U>
struct Sums {
  using Floats = typename Vector<N>::Floats;
  Floats of[U][R][V] = {};

  // Adds a run to the registers First … Last - 1. `values` begins at the column of the first of them.
  template <int First, int Last>
  GBLR_INLINE void add(const float* x, int64_t n_in, const Run& run, const float* values) {
    const int64_t width = run.columns == kBoth ? kWidth : kHalf;
    int64_t i = 0;
    for (; i + U <= run.count; i += U)
#pragma GCC unroll 4
      for (int u = 0; u < U; ++u) add_row<First, Last>(x + run.start + i + u, n_in, values + (i + u) * width, u);
    for (; i < run.count; ++i) add_row<First, Last>(x + run.start + i, n_in, values + i * width, 0);
  }

  template <int First, int Last>
  GBLR_INLINE void add_row(const float* x, int64_t n_in, const float* values, int u) {
    Floats of_row[V];
#pragma GCC unroll 8
    for (int v = First; v < Last; ++v) of_row[v] = Vector<N>::load(values + (v - First) * N);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int v = First; v < Last; ++v) of[u][r][v] += x[r * n_in] * of_row[v];
  }
};

// Sums over all runs of a chunk, of the columns from `first` on. They are all columns of the chunk, or lie in one half.
template <int N, int R, int V, int U>
GBLR_INLINE void add_up(const Product& p, const Chunk& chunk, const float* x, int64_t first, float* to) {
  Sums<N, R, V, U> sums;
  for (const Run *run = p.runs.data() + chunk.run, *end = run + chunk.runs; run != end; ++run) {
    const float* values = p.values + run->values;
    if constexpr (N * V == kWidth) {
      if (run->columns == kBoth) sums.template add<0, V>(x, p.n_in, *run, values);
      if (run->columns == kFirst) sums.template add<0, V / 2>(x, p.n_in, *run, values);
      if (run->columns == kSecond) sums.template add<V / 2, V>(x, p.n_in, *run, values);
    } else {
      if (run->columns == (first < kHalf ? kSecond : kFirst)) continue;
      sums.template add<0, V>(x, p.n_in, *run, values + (run->columns == kBoth ? first : first % kHalf));
    }
  }
#pragma GCC unroll 4
  for (int u = 1; u < U; ++u)
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sums.of[0][r][v] += sums.of[u][r][v];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) std::memcpy(to + r * kWidth, sums.of[0][r], sizeof sums.of[0][r]);
}

// R rows of one chunk of y.
template <int N, int R, int V, int U>
GBLR_INLINE void rows_of_chunk(const Product& p, int64_t index, int64_t row) {
  const int64_t column = index * kWidth, count = std::min(kWidth, p.n_out - column);
  float sums[R * kWidth];
  for (int64_t first = 0; first < kWidth; first += N * V)
    add_up<N, R, V, U>(p, p.chunks[index], p.x + row * p.n_in, first, sums + first);
  for (int r = 0; r < R; ++r) {
    float* to = p.y + (row + r) * p.n_out + column;
    const float* from = sums + r * kWidth;
    if (p.bias == nullptr) {
      std::memcpy(to, from, count * sizeof(float));
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = from[i] + p.bias[column + i];
    }
  }
}

// A part of the product that one thread computes.
struct Part {
  int64_t first_chunk, last_chunk, first_row, last_row;
};

// R and V are such that R · V sums, V values and one element of x fit into the registers of the processor. A single row
// has eight sums in turn.
template <int N, int R, int V>
GBLR_INLINE void part_of_product(const Product& p, const Part& part) {
  constexpr int kAll = kWidth / N;
  for (int64_t chunk = part.first_chunk; chunk < part.last_chunk; ++chunk) {
    int64_t row = part.first_row;
    for (; row + R <= part.last_row; row += R) rows_of_chunk<N, R, V, 1>(p, chunk, row);
    for (; row + 4 <= part.last_row; row += 4) rows_of_chunk<N, 4, V, 1>(p, chunk, row);
    for (; row < part.last_row; ++row) rows_of_chunk<N, 1, kAll, 8 / kAll>(p, chunk, row);
  }
}

#ifdef GBLR_TARGET
GBLR_TARGET("avx512f") void part_by_avx512(const Product& p, const Part& part) {
  part_of_product<16, 12, 2>(p, part);
}

GBLR_TARGET("avx2,fma") void part_by_avx2(const Product& p, const Part& part) { part_of_product<8, 6, 2>(p, part); }
#endif

void part_by_any(const Product& p, const Part& part) { part_of_product<4, 6, 2>(p, part); }

using Compute = void(const Product&, const Part&);

// The version for this processor.
Compute* compute_part() {
#ifdef GBLR_TARGET
  if (__builtin_cpu_supports("avx512f")) return part_by_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return part_by_avx2;
#endif
  return part_by_any;
}

// Many rows are divided between threads by rows, and few rows by chunks with about equal numbers of values.
std::vector<Part> parts_of(const Product& p, int64_t values) {
  const int64_t chunks = static_cast<int64_t>(p.chunks.size());
  const int64_t work = std::max<int64_t>(1, p.rows * values);
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), (work + kGrain - 1) / kGrain);
  std::vector<Part> parts;
  if (p.rows >= kWidth * threads) {
    const auto split = [&](int64_t i) { return i == threads ? p.rows : p.rows * i / threads / kRows * kRows; };
    for (int64_t i = 0; i < threads; ++i) parts.push_back({0, chunks, split(i), split(i + 1)});
    return parts;
  }
  for (int64_t first = 0, i = 0; i < threads; ++i) {
    int64_t last = first;
    while (last < chunks && (i + 1 == threads || p.chunks[last].values * threads < values * (i + 1))) ++last;
    parts.push_back({first, last, 0, p.rows});
    first = last;
  }
  return parts;
}

// A matrix of one stage: its values, and its runs (4, runs), see panels.ts.
struct Panels {
  const at::Tensor &values, &runs;
};

// Checks every index that the loops use before they run.
void add_runs(const Panels& panels, Product& p) {
  const at::Tensor runs = panels.runs.to(at::kCPU, at::kInt).contiguous();
  TORCH_CHECK(runs.dim() == 2 && runs.size(0) == 4, "runs must be (4, runs), got ", runs.sizes());
  TORCH_CHECK(panels.values.dim() == 1, "values must be (values), got ", panels.values.sizes());
  const int64_t count = runs.size(1), values = panels.values.numel();
  const int *chunk = runs.data_ptr<int>(), *columns = chunk + count, *start = columns + count, *length = start + count;
  p.chunks.resize((p.n_out + kWidth - 1) / kWidth);
  p.runs.reserve(count);
  int64_t at = 0, run = 0;
  for (int64_t index = 0; index < static_cast<int64_t>(p.chunks.size()); ++index) {
    p.chunks[index] = {run, 0, at};
    for (; run < count && chunk[run] == index; ++run) {
      TORCH_CHECK(start[run] >= 0 && length[run] >= 1 && length[run] <= p.n_in - start[run], "run ", run,
                  " lies outside of ", p.n_in, " inputs");
      TORCH_CHECK(columns[run] >= kBoth && columns[run] <= kSecond, "run ", run, " has columns ", columns[run]);
      p.runs.push_back({start[run], length[run], at, static_cast<Columns>(columns[run])});
      ++p.chunks[index].runs;
      at += length[run] * (columns[run] == kBoth ? kWidth : kHalf);
    }
  }
  TORCH_CHECK(run == count, "run ", run, " is of no chunk, or out of order");
  TORCH_CHECK(at == values, "runs cover ", at, " values, got ", values);
}

void check(const at::Tensor& x, const Optional<at::Tensor>& bias, int64_t blocks, int64_t n_out) {
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) >= 1 && blocks >= 1 && n_out >= 1, "x must be (..., n_in), got ", x.sizes());
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == n_out), "bias must be (", n_out, ")");
}

std::vector<int64_t> with_last(const at::Tensor& x, int64_t size) {
  auto sizes = x.sizes().vec();
  sizes.back() = size;
  return sizes;
}

// x M + bias, for x (..., n_in) in float32.
at::Tensor product(const at::Tensor& x, const Panels& panels, const Optional<at::Tensor>& bias, int64_t n_out) {
  const at::Tensor values = panels.values.to(at::kFloat).contiguous();
  const at::Tensor added = bias ? bias->to(at::kFloat).contiguous() : at::Tensor();
  at::Tensor y = at::empty(with_last(x, n_out), x.options());
  Product p{x.data_ptr<float>(),
            values.data_ptr<float>(),
            bias ? added.data_ptr<float>() : nullptr,
            y.data_ptr<float>(),
            y.numel() / n_out,
            x.size(-1),
            n_out,
            {},
            {}};
  add_runs({values, panels.runs}, p);
  const std::vector<Part> parts = parts_of(p, values.numel());
  static Compute* const compute = compute_part();
  at::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) compute(p, parts[i]);
  });
  return y;
}

at::Tensor panel_product_cpu(const at::Tensor& x, const at::Tensor& values_in, const at::Tensor& runs_in,
                             const at::Tensor& values_out, const at::Tensor& runs_out,
                             const Optional<at::Tensor>& bias, int64_t blocks, int64_t n_out) {
  check(x, bias, blocks, n_out);
  const at::Tensor z = product(x.to(at::kFloat).contiguous(), {values_in, runs_in}, {}, blocks);
  return product(z, {values_out, runs_out}, bias, n_out);
}

// M (n_in, n_out), of which each run sets lines of kHalf values.
at::Tensor matrix_of(const Panels& panels, int64_t n_in, int64_t n_out) {
  Product p{nullptr, nullptr, nullptr, nullptr, 0, n_in, n_out, {}, {}};
  add_runs(panels, p);
  const int64_t halves = 2 * static_cast<int64_t>(p.chunks.size());
  at::Tensor lines = at::empty({panels.values.numel() / kHalf}, at::kLong);
  int64_t* line = lines.data_ptr<int64_t>();
  for (int64_t index = 0; index < static_cast<int64_t>(p.chunks.size()); ++index)
    for (int64_t r = 0; r < p.chunks[index].runs; ++r) {
      const Run& run = p.runs[p.chunks[index].run + r];
      for (int64_t row = run.start; row < run.start + run.count; ++row) {
        if (run.columns != kSecond) *line++ = 2 * index * n_in + row;
        if (run.columns != kFirst) *line++ = (2 * index + 1) * n_in + row;
      }
    }
  const at::Tensor values = panels.values.to(at::kFloat).view({-1, kHalf});
  at::Tensor all = at::zeros({halves * n_in, kHalf}, values.options());
  all.index_copy_(0, lines.to(values.device()), values);
  return all.view({halves, n_in, kHalf}).transpose(0, 1).reshape({n_in, halves * kHalf}).narrow(1, 0, n_out);
}

// For other devices: two products with whole matrices.
at::Tensor panel_product_composed(const at::Tensor& x, const at::Tensor& values_in, const at::Tensor& runs_in,
                                  const at::Tensor& values_out, const at::Tensor& runs_out,
                                  const Optional<at::Tensor>& bias, int64_t blocks, int64_t n_out) {
  check(x, bias, blocks, n_out);
  const at::Tensor z = x.to(at::kFloat).matmul(matrix_of({values_in, runs_in}, x.size(-1), blocks));
  const at::Tensor y = z.matmul(matrix_of({values_out, runs_out}, blocks, n_out));
  return bias ? y + bias->to(at::kFloat) : y;
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def(
      "panel_product(Tensor x, Tensor values_in, Tensor runs_in, Tensor values_out, Tensor runs_out, Tensor? bias, "
      "int blocks, int n_out) -> Tensor");
  // The composition has a name of its own so that tests can call it without a GPU.
  m.def(
      "panel_product_composed(Tensor x, Tensor values_in, Tensor runs_in, Tensor values_out, Tensor runs_out, "
      "Tensor? bias, int blocks, int n_out) -> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) { m.impl("panel_product", panel_product_cpu); }

TORCH_LIBRARY_IMPL(gblr, CUDA, m) { m.impl("panel_product", panel_product_composed); }

TORCH_LIBRARY_IMPL(gblr, CompositeExplicitAutograd, m) { m.impl("panel_product_composed", panel_product_composed); }

} // namespace gblr

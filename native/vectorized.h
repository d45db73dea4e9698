// GBLR_VECTORIZED compiles a function once for each kind of vector unit and selects a version when the addon loads, so
// that the built file runs on any x86-64. Lanes hold sixteen partial sums, because the compiler may not reorder
// floating-point sums itself.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GBLR_VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GBLR_VECTORIZED
#endif

namespace gblr {

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t kLanes = 16;

inline const Lanes& lanes_at(const float* values) { return *reinterpret_cast<const Lanes*>(values); }

inline float sum_of(const Lanes& lanes) {
  float sum = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
  return sum;
}

} // namespace gblr

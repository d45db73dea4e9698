// GBLR_VECTORIZED compiles a function once for each kind of vector unit and selects a version when the addon loads, so
// that the built file runs on any x86-64. Lanes hold sixteen partial sums, because the compiler may not reorder
// floating-point sums itself.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GBLR_VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GBLR_VECTORIZED
#endif

namespace gblr {

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int64_t kLanes = 16;

inline const Lanes& lanes_at(const float* values) { return *reinterpret_cast<const Lanes*>(values); }

// In halves, because a sum of one lane after the other takes longer than a short dot product.
inline float sum_of(const Lanes& lanes) {
  typedef float Eight __attribute__((vector_size(32)));
  typedef float Four __attribute__((vector_size(16)));
  Eight eights[2];
  std::memcpy(eights, &lanes, sizeof eights);
  const Eight eight = eights[0] + eights[1];
  Four fours[2];
  std::memcpy(fours, &eight, sizeof fours);
  const Four four = fours[0] + fours[1];
  return (four[0] + four[2]) + (four[1] + four[3]);
}

} // namespace gblr

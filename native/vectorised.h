// A loop compiled once for each kind of vector unit, the version chosen when the addon loads: the built file runs on any
// x86-64.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GBLR_VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GBLR_VECTORISED
#endif

// The CPU allocator that ATen uses once the addon is loaded: freed blocks are kept and given out again, so that a
// training loop touches no fresh memory after its first step. Fresh pages can cost far more than the arithmetic.
#pragma once

#include <cstddef>

namespace gblr {

struct MemoryStatistics {
  size_t in_use = 0; // bytes in live blocks
  size_t cached = 0; // bytes kept for reuse
  size_t peak = 0;   // most bytes in use at one time
  size_t fresh = 0;  // times the system was asked for memory
};

// Makes it ATen's CPU allocator; the second call does nothing.
void install_allocator();
MemoryStatistics memory_statistics();
// Gives the kept blocks back to the system.
void release_cached_memory();

} // namespace gblr

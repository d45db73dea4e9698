// Hints to AddressSanitizer in a build with `--sanitize`; nothing in other builds.
#pragma once

#ifdef __SANITIZE_ADDRESS__

#include <sanitizer/asan_interface.h>
#include <signal.h>

#include <cstdint>

namespace gblr {

// Before an exception AddressSanitizer visits the thread's alternate signal stack, and fails when it does not begin at
// a multiple of 8, as that of Bun does not.
inline void align_signal_stack() {
  stack_t stack;
  if (sigaltstack(nullptr, &stack) != 0 || (stack.ss_flags & SS_DISABLE) != 0) return;
  const uintptr_t start = reinterpret_cast<uintptr_t>(stack.ss_sp);
  const size_t skipped = (8 - start % 8) % 8;
  stack.ss_sp = static_cast<char*>(stack.ss_sp) + skipped;
  stack.ss_size = (stack.ss_size - skipped) / 8 * 8;
  sigaltstack(&stack, nullptr);
}

} // namespace gblr

#else

#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))

namespace gblr {
inline void align_signal_stack() {}
} // namespace gblr

#endif

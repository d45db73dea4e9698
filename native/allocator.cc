// The CPU allocator: memory blocks in size classes, each preceded by a small header. Freed blocks are kept for the next
// request of their class.
#include "addon.h"

#include <c10/core/Allocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "compat.h"
#include "sanitizer.h"

namespace gblr {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t(2) << 20;
// The available memory is checked only for fresh blocks of at least this size.
constexpr size_t kLarge = size_t(64) << 20;

// There are eight sizes per doubling, so that at most an eighth of a block is unused and similar sizes share a class.
struct SizeClass {
  size_t bytes;
  size_t index;
};

SizeClass size_class(size_t bytes) {
  const size_t wanted = std::max(bytes, size_t(512)) - 1;
  const int exponent = 63 - __builtin_clzll(wanted);
  const size_t step = (size_t(1) << exponent) / 8;
  const size_t steps = wanted / step + 1; // 9 … 16 eighths of the doubling
  return {steps * step, static_cast<size_t>(exponent) * 8 + steps - 9};
}
constexpr size_t kClasses = 64 * 8;

// Precedes each block. Its size equals the alignment, so that the block itself is aligned.
struct alignas(kAlignment) Header {
  size_t bytes;
  size_t index;
};

size_t read_number(const char* path, const char* key) {
  FILE* file = std::fopen(path, "r");
  if (file == nullptr) return SIZE_MAX;
  char line[256];
  size_t value = SIZE_MAX;
  const size_t skip = std::strlen(key);
  while (std::fgets(line, sizeof line, file))
    if (std::strncmp(line, key, skip) == 0 && std::sscanf(line + skip, "%zu", &value) == 1) break;
  std::fclose(file);
  return value;
}

// The memory available to the process on the machine or in its container. The kernel would kill the process for using
// more, so such a request must fail with an error instead.
size_t available_memory() {
  const size_t kib = read_number("/proc/meminfo", "MemAvailable:");
  size_t available = kib == SIZE_MAX ? SIZE_MAX : kib * 1024;
  const size_t limit = read_number("/sys/fs/cgroup/memory.max", ""); // "max" leaves SIZE_MAX
  const size_t used = read_number("/sys/fs/cgroup/memory.current", "");
  if (limit != SIZE_MAX && used != SIZE_MAX) available = std::min(available, limit > used ? limit - used : 0);
  return available;
}

double gigabytes(size_t bytes) {
  return static_cast<double>(bytes) / 1e9;
}

class CachingAllocator final : public c10::Allocator {
 public:
#if GBLR_TORCH_AT_LEAST(2, 3)
  c10::DataPtr allocate(size_t bytes) override {
    return allocate_block(bytes);
  }
  void copy_data(void* destination, const void* source, std::size_t count) const override {
    std::memcpy(destination, source, count);
  }
#else
  c10::DataPtr allocate(size_t bytes) const override {
    return instance().allocate_block(bytes);
  }
#endif
  c10::DeleterFnPtr raw_deleter() const override {
    return &CachingAllocator::free_block;
  }

  MemoryStatistics statistics() {
    std::lock_guard<std::mutex> lock(mutex_);
    return statistics_;
  }

  void release() {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto& bin : bins_) {
      for (Header* block : bin) std::free(block);
      bin.clear();
    }
    statistics_.cached = 0;
  }

  static CachingAllocator& instance() {
    static auto* allocator = new CachingAllocator(); // never destroyed: tensors may outlive static destructors
    return *allocator;
  }

 private:
  c10::DataPtr allocate_block(size_t bytes) {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &CachingAllocator::free_block, cpu};
    const SizeClass size = size_class(bytes);
    Header* block = take(size);
    if (block == nullptr) block = fresh(size, bytes);
    void* data = block + 1;
    // Only the tensor's own bytes are accessible; the rest of its block and freed blocks are not.
    ASAN_POISON_MEMORY_REGION(data, size.bytes);
    ASAN_UNPOISON_MEMORY_REGION(data, bytes);
    return {data, data, &CachingAllocator::free_block, cpu};
  }

  void count(size_t bytes) {
    statistics_.in_use += bytes;
    statistics_.peak = std::max(statistics_.peak, statistics_.in_use);
  }

  Header* take(const SizeClass& size) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto& bin = bins_[size.index];
    if (bin.empty()) return nullptr;
    Header* block = bin.back();
    bin.pop_back();
    statistics_.cached -= size.bytes;
    count(size.bytes);
    return block;
  }

  Header* fresh(const SizeClass& size, size_t bytes) {
    if (size.bytes >= kLarge && size.bytes > available_memory()) release();
    const bool hopeless = size.bytes >= kLarge && size.bytes > available_memory();
    // Huge pages for large blocks: one page fault per 2 MiB instead of 512.
    const bool huge = size.bytes >= kHugePage;
    const size_t whole = size.bytes + sizeof(Header);
    void* block = nullptr;
    if (hopeless || posix_memalign(&block, huge ? kHugePage : kAlignment, whole) != 0) {
      const auto now = statistics();
      TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory: requested ", gigabytes(bytes), " GB, ",
                       gigabytes(available_memory()), " GB are available and ", gigabytes(now.in_use),
                       " GB are in tensors; use a smaller batch or dispose of tensors");
    }
    if (huge) madvise(block, whole, MADV_HUGEPAGE);
    std::lock_guard<std::mutex> lock(mutex_);
    ++statistics_.fresh;
    count(size.bytes);
    return new (block) Header{size.bytes, size.index};
  }

  static void free_block(void* data) {
    if (data == nullptr) return;
    CachingAllocator& self = instance();
    Header* block = static_cast<Header*>(data) - 1;
    ASAN_POISON_MEMORY_REGION(data, block->bytes);
    std::lock_guard<std::mutex> lock(self.mutex_);
    self.bins_[block->index].push_back(block);
    self.statistics_.in_use -= block->bytes;
    self.statistics_.cached += block->bytes;
  }

  std::mutex mutex_;
  std::array<std::vector<Header*>, kClasses> bins_; // kept blocks by size class
  MemoryStatistics statistics_;
};

} // namespace

void install_allocator() {
  // With priority over ATen's own allocator, which still frees the blocks that it has allocated.
  static const bool installed = [] {
    c10::SetAllocator(c10::DeviceType::CPU, &CachingAllocator::instance(), 1);
    return true;
  }();
  (void)installed;
}

MemoryStatistics memory_statistics() {
  return CachingAllocator::instance().statistics();
}

void release_cached_memory() {
  CachingAllocator::instance().release();
}

} // namespace gblr

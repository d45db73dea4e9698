#include "allocator.h"

#include <c10/core/Allocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace gblr {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t(2) << 20;
// Below this a fresh block is not worth a look at how much memory the machine has left.
constexpr size_t kLarge = size_t(64) << 20;

// Eight sizes to each doubling: at most an eighth of a block is unused, and blocks of one loop's odd sizes meet again.
size_t size_class(size_t bytes) {
  if (bytes <= 512) return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  size_t step = size_t(1) << (63 - __builtin_clzll(bytes - 1));
  step /= 8;
  return (bytes + step - 1) / step * step;
}

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

// What the machine, or the container the process runs in, can still give. Asking for more would bring the kernel's
// killer instead of an error.
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
  // `allocate` lost its const and `copy_data` became pure virtual within 2.x: without `override`, each overrides where
  // it exists.
  c10::DataPtr allocate(size_t bytes) const {
    return instance().allocate_block(bytes);
  }
  c10::DataPtr allocate(size_t bytes) {
    return allocate_block(bytes);
  }
  void copy_data(void* destination, const void* source, std::size_t count) const {
    std::memcpy(destination, source, count);
  }
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
      for (void* block : bin.second) std::free(block);
      bin.second.clear();
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
    const size_t size = size_class(bytes);
    void* block = take(size);
    if (block == nullptr) block = fresh(size, bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    sizes_[block] = size;
    statistics_.in_use += size;
    statistics_.peak = std::max(statistics_.peak, statistics_.in_use);
    return {block, block, &CachingAllocator::free_block, cpu};
  }

  void* take(size_t size) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto bin = bins_.find(size);
    if (bin == bins_.end() || bin->second.empty()) return nullptr;
    void* block = bin->second.back();
    bin->second.pop_back();
    statistics_.cached -= size;
    return block;
  }

  void* fresh(size_t size, size_t bytes) {
    if (size >= kLarge && size > available_memory()) release();
    const bool hopeless = size >= kLarge && size > available_memory();
    // Huge pages where they fit: one page fault for 2 MiB instead of 512.
    const bool huge = size >= kHugePage;
    void* block = nullptr;
    if (hopeless || posix_memalign(&block, huge ? kHugePage : kAlignment, size) != 0) {
      const auto now = statistics();
      TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory: asked for ", gigabytes(bytes), " GB, ",
                       gigabytes(available_memory()), " GB are available and ", gigabytes(now.in_use),
                       " GB are in tensors; use a smaller batch or dispose of tensors");
    }
    if (huge) madvise(block, size, MADV_HUGEPAGE);
    std::lock_guard<std::mutex> lock(mutex_);
    ++statistics_.fresh;
    return block;
  }

  static void free_block(void* block) {
    if (block == nullptr) return;
    CachingAllocator& self = instance();
    std::lock_guard<std::mutex> lock(self.mutex_);
    const auto entry = self.sizes_.find(block);
    if (entry == self.sizes_.end()) return;
    const size_t size = entry->second;
    self.sizes_.erase(entry);
    self.bins_[size].push_back(block);
    self.statistics_.in_use -= size;
    self.statistics_.cached += size;
  }

  std::mutex mutex_;
  std::unordered_map<size_t, std::vector<void*>> bins_; // size class → kept blocks
  std::unordered_map<void*, size_t> sizes_;             // live block → size class
  MemoryStatistics statistics_;
};

} // namespace

void install_allocator() {
  // Above ATen's own, which stays in charge of what it has already given out.
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

// Hides the differences between versions of libtorch.
#pragma once

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <c10/core/Event.h>
#include <torch/version.h>

#include <chrono>
#include <thread>

#define GBLR_TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > major || (TORCH_VERSION_MAJOR == major && TORCH_VERSION_MINOR >= minor))

#if GBLR_TORCH_AT_LEAST(2, 5)
#include <optional>
namespace gblr {
template <typename T>
using Optional = std::optional<T>;
}
#else
#include <c10/util/Optional.h>
namespace gblr {
template <typename T>
using Optional = c10::optional<T>;
}
#endif

namespace gblr {

inline void set_autocast(c10::DeviceType device, bool enabled, c10::ScalarType dtype) {
#if GBLR_TORCH_AT_LEAST(2, 4)
  at::autocast::set_autocast_dtype(device, dtype);
  at::autocast::set_autocast_enabled(device, enabled);
#else
  if (device == c10::DeviceType::CPU) {
    at::autocast::set_autocast_cpu_dtype(dtype);
    at::autocast::set_cpu_enabled(enabled);
  } else {
    at::autocast::set_autocast_gpu_dtype(dtype);
    at::autocast::set_enabled(enabled);
  }
#endif
}

// The type of products in automatic mixed precision; none where it is off.
inline Optional<c10::ScalarType> autocast_type(c10::DeviceType device) {
  const bool on_cpu = device == c10::DeviceType::CPU;
  if (!on_cpu && device != c10::DeviceType::CUDA) return {};
#if GBLR_TORCH_AT_LEAST(2, 4)
  if (!at::autocast::is_autocast_enabled(device)) return {};
  return at::autocast::get_autocast_dtype(device);
#else
  if (!(on_cpu ? at::autocast::is_cpu_enabled() : at::autocast::is_enabled())) return {};
  return on_cpu ? at::autocast::get_autocast_cpu_dtype() : at::autocast::get_autocast_gpu_dtype();
#endif
}

// Blocks the calling thread until the device has reached the event.
inline void wait_for(const c10::Event& event) {
#if GBLR_TORCH_AT_LEAST(2, 4)
  event.synchronize();
#else
  while (!event.query()) std::this_thread::sleep_for(std::chrono::microseconds(20));
#endif
}

} // namespace gblr

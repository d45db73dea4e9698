// Parses and prints the names of dtypes and devices in JavaScript.
#include "values.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace gblr {

namespace {

struct Dtype {
  const char* name;
  c10::ScalarType type;
};
constexpr Dtype kDtypes[] = {
    {"float32", c10::ScalarType::Float},   {"float64", c10::ScalarType::Double}, {"float16", c10::ScalarType::Half},
    {"bfloat16", c10::ScalarType::BFloat16}, {"int8", c10::ScalarType::Char},    {"int16", c10::ScalarType::Short},
    {"int32", c10::ScalarType::Int},       {"int64", c10::ScalarType::Long},     {"uint8", c10::ScalarType::Byte},
    {"bool", c10::ScalarType::Bool},       {"complex64", c10::ScalarType::ComplexFloat},
};

c10::Device device_named(const std::string& name) {
  try {
    return c10::Device(name);
  } catch (const c10::Error&) {
    throw UsageError("device \"" + name + "\" is unknown");
  }
}

// libtorch's own message is long and differs between versions.
void check_present(const c10::Device& device) {
  if (!c10::impl::hasDeviceGuardImpl(device.type()))
    throw UsageError("device \"" + device.str() + "\" is not available: this libtorch is built without CUDA");
  const int count = cuda_count();
  if (count == 0)
    throw UsageError("device \"" + device.str() +
                     "\" is not available: CUDA finds no GPU, or no NVIDIA driver new enough for this libtorch");
  if (device.index() >= count)
    throw UsageError("device \"" + device.str() + "\" is not available: CUDA finds " + std::to_string(count) +
                     (count == 1 ? " GPU" : " GPUs") + ", counted from 0");
}

} // namespace

c10::ScalarType parse_dtype(const std::string& name) {
  for (const auto& dtype : kDtypes)
    if (name == dtype.name) return dtype.type;
  throw UsageError("dtype \"" + name + "\" is unknown");
}

const char* dtype_name(c10::ScalarType type) {
  for (const auto& dtype : kDtypes)
    if (type == dtype.type) return dtype.name;
  return c10::toString(type);
}

c10::Device parse_device(const std::string& name) {
  const c10::Device device = device_named(name);
  if (device.is_cuda()) check_present(device);
  return device;
}

int cuda_count() {
  if (!c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA)) return 0;
  return c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA)->deviceCount();
}

} // namespace gblr

// Names and memory of the GPUs, from the CUDA driver API. Its functions are looked up by name in the driver that
// libtorch has loaded, so that the build needs neither CUDA's headers nor its libraries. What tensors take is known to
// libtorch's allocator.
#include "addon.h"

#include <dlfcn.h>

#include "compat.h"
#include "values.h"

#if GBLR_TORCH_AT_LEAST(2, 9)
#include <c10/core/CachingDeviceAllocator.h>
#endif

namespace gblr {

namespace {

// As in cuda.h: CUresult and CUdevice are ints, CUcontext is a pointer, and 0 is CUDA_SUCCESS.
using Result = int;
using Device = int;
using Context = void*;

template <typename Function>
Function* driver_function(const char* name) {
  static void* driver = dlopen("libcuda.so.1", RTLD_LAZY);
  void* found = driver == nullptr ? nullptr : dlsym(driver, name);
  if (found == nullptr) throw std::runtime_error(std::string("the CUDA driver has no function ") + name);
  return reinterpret_cast<Function*>(found);
}

template <typename... Parameters>
void call_driver(const char* name, Parameters... parameters) {
  const Result result = driver_function<Result(Parameters...)>(name)(parameters...);
  if (result != 0) throw std::runtime_error(std::string(name) + " failed with CUDA error " + std::to_string(result));
}

Device device_at(int index) {
  call_driver("cuInit", 0u);
  Device device = 0;
  call_driver("cuDeviceGet", &device, index);
  return device;
}

// Makes a device's primary context, which libtorch also uses, current for this thread while the object lives.
class PrimaryContext {
 public:
  explicit PrimaryContext(Device device) : device_(device) {
    Context context = nullptr;
    call_driver("cuDevicePrimaryCtxRetain", &context, device_);
    try {
      call_driver("cuCtxPushCurrent_v2", context);
    } catch (...) {
      driver_function<Result(Device)>("cuDevicePrimaryCtxRelease_v2")(device_);
      throw;
    }
  }
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;
  ~PrimaryContext() {
    Context popped = nullptr;
    driver_function<Result(Context*)>("cuCtxPopCurrent_v2")(&popped);
    driver_function<Result(Device)>("cuDevicePrimaryCtxRelease_v2")(device_);
  }

 private:
  Device device_;
};

// inUse, peak and cached: bytes in live tensors now and at most, and bytes kept for reuse. Older versions of libtorch
// do not tell without CUDA's headers.
void set_tensor_memory(napi_env env, napi_value result, const c10::Device& device) {
#if GBLR_TORCH_AT_LEAST(2, 9)
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  if (allocator == nullptr || !allocator->initialized()) return;
  const auto statistics = allocator->getDeviceStats(device.has_index() ? device.index() : 0);
  const auto& bytes = statistics.allocated_bytes[0]; // of all kinds of blocks
  set_number(env, result, "inUse", static_cast<double>(bytes.current));
  set_number(env, result, "peak", static_cast<double>(bytes.peak));
  set_number(env, result, "cached", static_cast<double>(statistics.reserved_bytes[0].current - bytes.current));
#else
  (void)env, (void)result, (void)device;
#endif
}

// The identity of a GPU, as hexadecimal digits.
std::string uuid_of(Device device) {
  unsigned char bytes[16] = {};
  call_driver("cuDeviceGetUuid", static_cast<unsigned char*>(bytes), device);
  std::string text;
  for (const unsigned char byte : bytes)
    for (const int digit : {byte >> 4, byte & 15}) text += "0123456789abcdef"[digit];
  return text;
}

} // namespace

// cudaDevices() → [{ name, uuid, total }], bytes. Creates no context, which would take hundreds of megabytes on each GPU.
napi_value cuda_devices(napi_env env, const Arguments&) {
  napi_value list;
  check(env, napi_create_array(env, &list), "array");
  const int count = cuda_count();
  for (int i = 0; i < count; ++i) {
    const Device device = device_at(i);
    char name[256] = "";
    size_t total = 0;
    call_driver("cuDeviceGetName", static_cast<char*>(name), static_cast<int>(sizeof name), device);
    call_driver("cuDeviceTotalMem_v2", &total, device);
    napi_value entry;
    check(env, napi_create_object(env, &entry), "object");
    check(env, napi_set_named_property(env, entry, "name", from_text(env, name)), "name");
    check(env, napi_set_named_property(env, entry, "uuid", from_text(env, uuid_of(device).c_str())), "uuid");
    set_number(env, entry, "total", static_cast<double>(total));
    check(env, napi_set_element(env, list, i, entry), "array item");
  }
  return list;
}

// cudaMemory("cuda:0") → { total, available, inUse?, peak?, cached? }, bytes. Creates a context, so call it for the
// device in use only.
napi_value cuda_memory(napi_env env, const Arguments& arguments) {
  const std::string name = to_string(env, arguments[0]);
  const c10::Device device = parse_device(name);
  if (!device.is_cuda()) throw UsageError("cudaMemory takes a CUDA device, got \"" + name + "\"");
  size_t available = 0, total = 0;
  {
    const PrimaryContext current(device_at(device.has_index() ? device.index() : 0));
    call_driver("cuMemGetInfo_v2", &available, &total);
  }
  napi_value result;
  check(env, napi_create_object(env, &result), "object");
  set_number(env, result, "total", static_cast<double>(total));
  set_number(env, result, "available", static_cast<double>(available));
  set_tensor_memory(env, result, device);
  return result;
}

} // namespace gblr

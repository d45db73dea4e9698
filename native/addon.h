// What the addon's files offer to addon.cc: the functions that are exported to JavaScript, and the CPU allocator.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <stdexcept>
#include <string>

namespace gblr {

// The arguments of an exported function, on its stack: reading one may run JavaScript (a getter, a proxy), which may
// call the addon again.
struct Arguments {
  const napi_value* values;
  size_t count;
  size_t size() const { return count; }
  napi_value operator[](size_t index) const { return values[index]; }
};

// An operator that threw: JavaScript gets "aten::mm: <ATen's own message>".
struct OperatorError : std::runtime_error {
  OperatorError(const std::string& op, std::string message)
      : std::runtime_error(op + ": " + message.substr(0, message.find("\nException raised from"))) {}
};

// The dispatcher (call.cc): operators by name, and calls of them.
napi_value has_operator(napi_env env, const Arguments& arguments);
napi_value lookup(napi_env env, const Arguments& arguments);
napi_value tensor_results(napi_env env, const Arguments& arguments);
napi_value schema(napi_env env, const Arguments& arguments);
napi_value call(napi_env env, const Arguments& arguments);

// Tensors (transfer.cc): their bytes in and out, and what they are.
napi_value from_bytes(napi_env env, const Arguments& arguments);
napi_value read(napi_env env, const Arguments& arguments);
napi_value read_async(napi_env env, const Arguments& arguments);
napi_value describe_tensor(napi_env env, const Arguments& arguments);
napi_value is_shared(napi_env env, const Arguments& arguments);

// The machine: GPUs as CUDA's driver reports them (cuda-driver.cc), and the library that multiplies matrices on the CPU
// (blas.cc).
napi_value cuda_devices(napi_env env, const Arguments& arguments);
napi_value cuda_memory(napi_env env, const Arguments& arguments);
napi_value blas(napi_env env, const Arguments& arguments);

// The CPU allocator of ATen once the addon is loaded (allocator.cc). Freed blocks are kept and given out again, so that
// a training loop touches no fresh memory after its first step: fresh pages can cost far more than the arithmetic.
struct MemoryStatistics {
  size_t in_use = 0; // bytes in live blocks
  size_t cached = 0; // bytes kept for reuse
  size_t peak = 0;   // most bytes in use at one time
  size_t fresh = 0;  // how often the system was asked for memory
};

// Idempotent.
void install_allocator();
MemoryStatistics memory_statistics();
// Gives the kept blocks back to the system.
void release_cached_memory();

} // namespace gblr

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

// An operator threw. JavaScript receives "aten::mm: <ATen's own message>".
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

// Tensors (transfer.cc): their bytes in and out, and their dtype, device and shape.
napi_value from_bytes(napi_env env, const Arguments& arguments);
napi_value write_values(napi_env env, const Arguments& arguments);
napi_value read(napi_env env, const Arguments& arguments);
napi_value read_async(napi_env env, const Arguments& arguments);
napi_value describe_tensor(napi_env env, const Arguments& arguments);
napi_value is_shared(napi_env env, const Arguments& arguments);

// Process groups over several processes (distributed/process-group.cc).
napi_value join_group(napi_env env, const Arguments& arguments);
napi_value leave_group(napi_env env, const Arguments& arguments);
napi_value all_reduce(napi_env env, const Arguments& arguments);
napi_value broadcast(napi_env env, const Arguments& arguments);
napi_value all_gather(napi_env env, const Arguments& arguments);
napi_value reduce_scatter(napi_env env, const Arguments& arguments);
napi_value barrier(napi_env env, const Arguments& arguments);
napi_value wait_for_work(napi_env env, const Arguments& arguments);
napi_value store_set(napi_env env, const Arguments& arguments);
napi_value store_get(napi_env env, const Arguments& arguments);
napi_value use_nccl(napi_env env, const Arguments& arguments);
// Whether this libtorch, and this build, have them.
bool has_process_groups();
bool has_nccl();
void leave_all_groups();

// The machine: GPUs as reported by the CUDA driver (cuda-driver.cc), and the CPU's matrix library (blas/blas.cc).
napi_value cuda_devices(napi_env env, const Arguments& arguments);
napi_value cuda_memory(napi_env env, const Arguments& arguments);
napi_value blas(napi_env env, const Arguments& arguments);

// The CPU allocator (allocator.cc), which replaces ATen's when the addon is loaded. It keeps freed blocks and reuses
// them, so that a training loop allocates no fresh memory after its first step: faulting in fresh pages can take far
// longer than the arithmetic.
struct MemoryStatistics {
  size_t in_use = 0; // bytes in live blocks
  size_t cached = 0; // bytes kept for reuse
  size_t peak = 0;   // most bytes in use at one time
  size_t fresh = 0;  // number of requests to the system for memory
};

// Calling it again has no effect.
void install_allocator();
MemoryStatistics memory_statistics();
// Gives the kept blocks back to the system.
void release_cached_memory();

} // namespace gblr

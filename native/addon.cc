// The module and its exported functions. C++ exceptions become JavaScript errors only here. It uses Node-API only, so
// that Bun, Deno and Node load the same file. shim.cc loads it.
#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <dlfcn.h>
#include <node_api.h>

#include "addon.h"
#include "compat.h"
#include "sanitizer.h"
#include "values.h"

namespace gblr {

State& state() {
  // Not destroyed with the thread, because CUDA may be unloaded by then. The environment's clean-up hook clears it.
  thread_local auto* current = new State();
  return *current;
}

namespace {

napi_value undefined(napi_env env) {
  napi_value result;
  check(env, napi_get_undefined(env, &result), "undefined");
  return result;
}

// attach(Float64Array): the array into which `call` writes the shapes of its results. A reference keeps it alive.
napi_value attach(napi_env env, const Arguments& arguments) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, arguments[0], &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_float64_array)
    throw UsageError("attach takes a Float64Array");
  napi_ref kept;
  check(env, napi_create_reference(env, arguments[0], 1, &kept), "attach");
  state().meta = static_cast<double*>(data);
  state().meta_length = length;
  return undefined(env);
}

napi_value free_tensor(napi_env env, const Arguments& arguments) {
  const double handle = to_double(env, arguments[0], "tensor handle");
  if (!state().tensors.remove(handle)) to_tensor(env, arguments[0]); // throws, naming the handle
  return undefined(env);
}

napi_value generator(napi_env env, const Arguments& arguments) {
  const auto device = parse_device(to_string(env, arguments[0]));
  const auto seed = static_cast<uint64_t>(to_integer(env, arguments[1], "seed"));
  at::Generator made = at::globalContext().defaultGenerator(device).clone();
  made.set_current_seed(seed);
  return from_number(env, state().generators.add(std::move(made)));
}

napi_value free_generator(napi_env env, const Arguments& arguments) {
  if (!state().generators.remove(to_double(env, arguments[0], "generator handle")))
    throw UsageError("generator handle is not alive");
  return undefined(env);
}

napi_value seed(napi_env env, const Arguments& arguments) {
  at::manual_seed(static_cast<uint64_t>(to_integer(env, arguments[0], "seed")));
  return undefined(env);
}

// setThreads(count) → the count in use. ATen and OpenBLAS have separate thread pools; both are set.
napi_value set_threads(napi_env env, const Arguments& arguments) {
  const int64_t count = to_integer(env, arguments[0], "threads");
  if (count < 1 || count > 1024) throw UsageError("threads must be 1 to 1024, got " + std::to_string(count));
  at::set_num_threads(static_cast<int>(count));
  using SetThreads = void (*)(int);
  if (auto set = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads")))
    set(static_cast<int>(count));
  return from_number(env, at::get_num_threads());
}

napi_value autocast(napi_env env, const Arguments& arguments) {
  const auto device = parse_device(to_string(env, arguments[0]));
  bool enabled = false;
  if (napi_get_value_bool(env, arguments[1], &enabled) != napi_ok) throw UsageError("enabled must be a boolean");
  set_autocast(device.type(), enabled, parse_dtype(to_string(env, arguments[2])));
  return undefined(env);
}

napi_value allow_tf32(napi_env env, const Arguments& arguments) {
  bool enabled = false;
  if (napi_get_value_bool(env, arguments[0], &enabled) != napi_ok) throw UsageError("enabled must be a boolean");
  at::globalContext().setAllowTF32CuBLAS(enabled);
  at::globalContext().setAllowTF32CuDNN(enabled);
  return undefined(env);
}

// selectDevice("cuda:1"): the default device of new tensors.
napi_value select_device(napi_env env, const Arguments& arguments) {
  const auto device = parse_device(to_string(env, arguments[0]));
  if (!device.is_cpu()) c10::impl::getDeviceGuardImpl(device.type())->setDevice(device);
  return undefined(env);
}

napi_value synchronize(napi_env env, const Arguments& arguments) {
  const auto device = parse_device(to_string(env, arguments[0]));
  if (!device.is_cpu()) c10::impl::getDeviceGuardImpl(device.type())->getStream(device).synchronize();
  return undefined(env);
}

napi_value memory(napi_env env, const Arguments&) {
  const MemoryStatistics now = memory_statistics();
  napi_value result;
  check(env, napi_create_object(env, &result), "object");
  set_number(env, result, "inUse", static_cast<double>(now.in_use));
  set_number(env, result, "cached", static_cast<double>(now.cached));
  set_number(env, result, "peak", static_cast<double>(now.peak));
  set_number(env, result, "fresh", static_cast<double>(now.fresh));
  set_number(env, result, "tensors", static_cast<double>(state().tensors.size()));
  return result;
}

napi_value release_cache(napi_env env, const Arguments&) {
  release_cached_memory();
  return undefined(env);
}

napi_value version(napi_env env, const Arguments&) {
  return from_text(env, TORCH_VERSION);
}

napi_value process_groups(napi_env env, const Arguments&) { return from_boolean(env, has_process_groups()); }

napi_value nccl(napi_env env, const Arguments&) { return from_boolean(env, has_nccl()); }

struct Export {
  const char* name;
  size_t arguments; // minimum number
  napi_value (*run)(napi_env, const Arguments&);
};

const Export kExports[] = {
    {"has", 2, has_operator},
    {"lookup", 2, lookup},
    {"schema", 2, schema},
    {"tensorResults", 1, tensor_results},
    {"call", 1, call},
    {"attach", 1, attach},
    {"fromBytes", 4, from_bytes},
    {"writeValues", 4, write_values},
    {"read", 1, read},
    {"readAsync", 1, read_async},
    {"describe", 1, describe_tensor},
    {"isShared", 1, is_shared},
    {"free", 1, free_tensor},
    {"generator", 2, generator},
    {"freeGenerator", 1, free_generator},
    {"seed", 1, seed},
    {"setThreads", 1, set_threads},
    {"autocast", 3, autocast},
    {"allowTf32", 1, allow_tf32},
    {"selectDevice", 1, select_device},
    {"synchronize", 1, synchronize},
    {"cudaDevices", 0, cuda_devices},
    {"cudaMemory", 1, cuda_memory},
    {"memory", 0, memory},
    {"releaseCache", 0, release_cache},
    {"version", 0, version},
    {"blas", 0, blas},
    {"hasProcessGroups", 0, process_groups},
    {"joinGroup", 9, join_group},
    {"hasNccl", 0, nccl},
    {"useNccl", 2, use_nccl},
    {"leaveGroup", 1, leave_group},
    {"allReduce", 3, all_reduce},
    {"broadcast", 3, broadcast},
    {"allGather", 3, all_gather},
    {"reduceScatter", 4, reduce_scatter},
    {"barrier", 1, barrier},
    {"waitFor", 1, wait_for_work},
    {"storeSet", 3, store_set},
    {"storeGet", 2, store_get},
};

napi_value run_export(napi_env env, napi_callback_info info) {
  try {
    void* data = nullptr;
    napi_value few[16];
    std::vector<napi_value> many;
    Arguments arguments{few, 16};
    check(env, napi_get_cb_info(env, info, &arguments.count, few, nullptr, &data), "arguments");
    const auto& entry = *static_cast<const Export*>(data);
    if (arguments.count > 16) {
      many.resize(arguments.count);
      check(env, napi_get_cb_info(env, info, &arguments.count, many.data(), nullptr, nullptr), "arguments");
      arguments.values = many.data();
    }
    if (arguments.count < entry.arguments)
      throw UsageError(std::string(entry.name) + ": takes " + std::to_string(entry.arguments) + " arguments, got " +
                       std::to_string(arguments.count));
    return entry.run(env, arguments);
  } catch (const UsageError& error) {
    napi_throw_type_error(env, "GBLR_USAGE", error.what());
  } catch (const OperatorError& error) {
    napi_throw_error(env, "GBLR_OPERATOR", error.what());
  } catch (const c10::Error& error) {
    napi_throw_error(env, "GBLR_TORCH", error.what_without_backtrace());
  } catch (const std::exception& error) {
    napi_throw_error(env, "GBLR_NATIVE", error.what());
  }
  return nullptr;
}

void clean_up(void*) {
  leave_all_groups();
  state().tensors.clear();
  state().generators.clear();
}

} // namespace

} // namespace gblr

extern "C" __attribute__((visibility("default"))) napi_value gblr_init(napi_env env, napi_value exports) {
  gblr::align_signal_stack();
  gblr::install_allocator();
  napi_add_env_cleanup_hook(env, gblr::clean_up, nullptr);
  for (const auto& entry : gblr::kExports) {
    napi_value function;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, gblr::run_export, const_cast<gblr::Export*>(&entry),
                             &function) != napi_ok ||
        napi_set_named_property(env, exports, entry.name, function) != napi_ok)
      napi_throw_error(env, "GBLR_NATIVE", "the addon could not define its functions");
  }
  return exports;
}

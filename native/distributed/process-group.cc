// Process groups of PyTorch's c10d: ranks meet at a TCPStore and exchange tensors through Gloo, both of which are in
// libtorch; tensors of GPUs go through NCCL where it is built in. A collective starts at once and returns a handle, for
// which `waitFor` gives a promise, so that it overlaps with what JavaScript does in the meantime. Collectives work in place;
// their tensors are kept until they end.
#include "../addon.h"
#include "../compat.h"

#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include "../background.h"
#include "../values.h"

#if __has_include(<torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>)

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "nccl.h"

#if !GBLR_TORCH_AT_LEAST(2, 0) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#include <exception>
#include <mutex>
#include <system_error>
#define GBLR_STORE_THREAD
#endif

namespace gblr {

namespace {

#ifdef GBLR_STORE_THREAD
// A TCPStore of libtorch 1 watches its connection in a thread that catches no errors: if the connection is reset, as it can
// be when rank 0 is killed, the process would be aborted. Only this thread ends instead, in the one way that a handler of
// uncaught errors allows; the next use of the store fails with the error of its own connection.
std::terminate_handler& earlier_handler() {
  static std::terminate_handler handler = nullptr;
  return handler;
}

void end_store_thread() {
  try {
    if (const auto error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::system_error&) {
    if (syscall(SYS_gettid) != getpid()) syscall(SYS_exit, 0);
  } catch (...) {
  }
  if (earlier_handler() != nullptr) earlier_handler()();
  std::abort();
}

void survive_resets() {
  static std::once_flag once;
  std::call_once(once, [] { earlier_handler() = std::set_terminate(end_store_thread); });
}
#else
void survive_resets() {}
#endif

// A group, and the store at which its ranks met.
struct Group {
  c10::intrusive_ptr<Backend> gloo;
  // of tensors on GPUs, if the ranks have agreed on it; see nccl.h
  Backend* nccl = nullptr;
  c10::intrusive_ptr<c10d::Store> store;
  std::chrono::milliseconds timeout;
};

// A collective on its way.
struct Work {
  c10::intrusive_ptr<c10d::Work> work;
  bool is_on_gpu;
  std::chrono::milliseconds timeout;
  // what is left to do when the tensors have come; none for most collectives
  std::function<void()> finish;
};

// Of this JavaScript thread, as `state()` is.
struct Distributed {
  HandleTable<Group> groups;
  HandleTable<Work> works;
};

Distributed& distributed() {
  thread_local auto* current = new Distributed();
  return *current;
}

Group& to_joined(napi_env env, napi_value value) {
  Group* group = distributed().groups.find(to_double(env, value, "group handle"));
  if (group == nullptr) throw UsageError("group handle is not alive");
  return *group;
}

bool goes_through_nccl(const Group& group, const std::vector<at::Tensor>& tensors) {
  const auto is_cuda = [](const at::Tensor& tensor) { return tensor.is_cuda(); };
  const auto count = std::count_if(tensors.begin(), tensors.end(), is_cuda);
  if (count != 0 && count != static_cast<int64_t>(tensors.size()))
    throw UsageError("a collective takes tensors of one device");
  return group.nccl != nullptr && count > 0;
}

// What exchanges such tensors.
Backend& backend_of(const Group& group, const std::vector<at::Tensor>& tensors) {
  return goes_through_nccl(group, tensors) ? *group.nccl : *group.gloo;
}

std::vector<at::Tensor> to_tensors(napi_env env, napi_value value) {
  bool array = false;
  uint32_t length = 0;
  if (napi_is_array(env, value, &array) != napi_ok || !array) throw UsageError("tensors must be an array of handles");
  check(env, napi_get_array_length(env, value, &length), "tensors");
  if (length == 0) throw UsageError("a collective takes at least one tensor");
  std::vector<at::Tensor> tensors(length);
  for (uint32_t i = 0; i < length; ++i) {
    napi_value item;
    check(env, napi_get_element(env, value, i, &item), "tensors");
    tensors[i] = to_tensor(env, item);
    if (!tensors[i].is_contiguous()) throw UsageError("a collective takes contiguous tensors");
  }
  return tensors;
}

c10d::ReduceOp::RedOpType to_operation(const std::string& name) {
  if (name == "sum") return c10d::ReduceOp::SUM;
  if (name == "max") return c10d::ReduceOp::MAX;
  if (name == "min") return c10d::ReduceOp::MIN;
  throw UsageError("a reduction is sum, max or min, got " + name);
}

napi_value undefined_of(napi_env env) {
  napi_value result;
  check(env, napi_get_undefined(env, &result), "undefined");
  return result;
}

// Keeps a collective of these tensors that has started.
napi_value started(napi_env env, const Group& group, const std::vector<at::Tensor>& tensors,
                   c10::intrusive_ptr<c10d::Work> work, std::function<void()> finish = nullptr) {
  const Work kept{std::move(work), goes_through_nccl(group, tensors), group.timeout, std::move(finish)};
  return from_number(env, distributed().works.add(kept));
}

// Waits until a collective has ended. The wait of NCCL begins with letting the stream of all kernels wait for it, so it
// comes when there is nothing left to wait for; then it throws what went wrong.
void wait_until_done(const Work& kept) {
  const auto end = std::chrono::steady_clock::now() + kept.timeout;
  while (kept.is_on_gpu && !kept.work->isCompleted() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  kept.work->wait();
  if (kept.finish) kept.finish();
}

std::shared_ptr<::gloo::transport::Device> device_of(const std::string& interface, const std::string& host) {
  if (!interface.empty()) return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  if (!host.empty()) return c10d::ProcessGroupGloo::createDeviceForHostname(host);
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

} // namespace

// joinGroup(store address, port, whether this process serves the store, prefix of its keys, rank, size, seconds,
// interface or "", own host or "") → promise of a group handle, when all ranks have joined.
napi_value join_group(napi_env env, const Arguments& arguments) {
  const std::string address = to_string(env, arguments[0]);
  const int64_t port = to_integer(env, arguments[1], "port");
  const bool serves = to_integer(env, arguments[2], "serves") != 0;
  const std::string prefix = to_string(env, arguments[3]);
  const auto rank = static_cast<int>(to_integer(env, arguments[4], "rank"));
  const auto size = static_cast<int>(to_integer(env, arguments[5], "size"));
  const std::chrono::milliseconds timeout(static_cast<int64_t>(to_double(env, arguments[6], "seconds") * 1000));
  const std::string interface = to_string(env, arguments[7]);
  const std::string host = to_string(env, arguments[8]);
  if (port < 0 || port > 65535) throw UsageError("port must be 0 to 65535, got " + std::to_string(port));
  if (rank < 0 || rank >= size) throw UsageError("rank must be 0 to size - 1");
  survive_resets();
  auto made = std::make_shared<Group>();
  return in_background(
      env, "gblr.joinGroup",
      [=] {
        c10d::TCPStoreOptions options;
        options.port = static_cast<uint16_t>(port);
        options.isServer = serves;
        options.waitWorkers = false;
        options.timeout = timeout;
#if GBLR_TORCH_AT_LEAST(2, 4)
        // Bun has libuv's names for itself, and ends a process that calls the functions which it lacks.
        options.useLibUV = false;
#endif
        auto store = c10::make_intrusive<c10d::TCPStore>(address, options);
        store->setTimeout(timeout);
        auto own = c10d::ProcessGroupGloo::Options::create(timeout);
        own->devices.push_back(device_of(interface, host));
        made->timeout = timeout;
        made->store = c10::make_intrusive<c10d::PrefixStore>(prefix, store);
        made->gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(made->store, rank, size, std::move(own));
      },
      [made](napi_env own) { return from_number(own, distributed().groups.add(std::move(*made))); });
}

// useNccl(group, device) → promise, when all ranks have met there. All of them call it after they have joined.
napi_value use_nccl(napi_env env, const Arguments& arguments) {
  const double handle = to_double(env, arguments[0], "group handle");
  const Group group = to_joined(env, arguments[0]);
  const c10::Device device(to_string(env, arguments[1]));
  auto joined = std::make_shared<Backend*>(nullptr);
  return in_background(
      env, "gblr.useNccl",
      [=] { *joined = join_nccl(group.store, group.gloo->getRank(), group.gloo->getSize(), group.timeout, device); },
      [=](napi_env own) {
        Group* still = distributed().groups.find(handle);
        if (still != nullptr) still->nccl = *joined;
        return undefined_of(own);
      });
}

napi_value leave_group(napi_env env, const Arguments& arguments) {
  if (!distributed().groups.remove(to_double(env, arguments[0], "group handle")))
    throw UsageError("group handle is not alive");
  return undefined_of(env);
}

// allReduce(group, [tensor handles of one type], "sum" | "max" | "min") → handle of the work
napi_value all_reduce(napi_env env, const Arguments& arguments) {
  auto tensors = to_tensors(env, arguments[1]);
  const Group& group = to_joined(env, arguments[0]);
  auto& backend = backend_of(group, tensors);
  const auto operation = to_operation(to_string(env, arguments[2]));
  if (tensors.size() == 1) {
    c10d::AllreduceOptions options;
    options.reduceOp = operation;
    return started(env, group, tensors, backend.allreduce(tensors, options));
  }
  c10d::AllreduceCoalescedOptions options;
  options.reduceOp = operation;
  return started(env, group, tensors, backend.allreduce_coalesced(tensors, options));
}

// broadcast(group, [tensor handle], root) → handle of the work
napi_value broadcast(napi_env env, const Arguments& arguments) {
  auto tensors = to_tensors(env, arguments[1]);
  c10d::BroadcastOptions options;
  options.rootRank = to_integer(env, arguments[2], "root");
  const Group& group = to_joined(env, arguments[0]);
  return started(env, group, tensors, backend_of(group, tensors).broadcast(tensors, options));
}

// allGather(group, [tensor handle], [handle of a tensor of shape [size, …]]) → handle of the work
napi_value all_gather(napi_env env, const Arguments& arguments) {
  auto inputs = to_tensors(env, arguments[1]);
  const auto output = to_tensors(env, arguments[2]);
  const Group& group = to_joined(env, arguments[0]);
  auto& backend = backend_of(group, inputs);
  if (output[0].dim() == 0 || output[0].size(0) != backend.getSize())
    throw UsageError("the result of allGather must have a first dimension of " + std::to_string(backend.getSize()));
  std::vector<std::vector<at::Tensor>> outputs{output[0].unbind(0)};
  return started(env, group, inputs, backend.allgather(outputs, inputs));
}

namespace {

// Puts the rows of `parts` together in their order, whatever the number of threads.
void reduce_rows(at::Tensor own, const at::Tensor& parts, c10d::ReduceOp::RedOpType operation) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  own.copy_(parts[0]);
  for (int64_t rank = 1; rank < parts.size(0); ++rank) {
    const at::Tensor part = parts[rank];
    if (operation == c10d::ReduceOp::MAX)
      at::maximum_out(own, own, part);
    else if (operation == c10d::ReduceOp::MIN)
      at::minimum_out(own, own, part);
    else
      own.add_(part);
  }
}

} // namespace

// reduceScatter(group, [handle of a tensor of shape [size, …]], [tensor handle], "sum" | "max" | "min") → handle of the work.
// Gloo of older versions lacks it, so through Gloo each rank gets its row of all others, and puts the rows together itself:
// what is sent is the same.
napi_value reduce_scatter(napi_env env, const Arguments& arguments) {
  auto inputs = to_tensors(env, arguments[1]);
  auto outputs = to_tensors(env, arguments[2]);
  const Group& group = to_joined(env, arguments[0]);
  auto& backend = backend_of(group, inputs);
  at::Tensor input = inputs[0], own = outputs[0];
  if (input.dim() == 0 || input.size(0) != backend.getSize() || input[0].sizes() != own.sizes() ||
      input.scalar_type() != own.scalar_type())
    throw UsageError("reduceScatter takes a tensor of " + std::to_string(backend.getSize()) + " rows like its result");
  const auto operation = to_operation(to_string(env, arguments[3]));
  if (goes_through_nccl(group, inputs)) {
    c10d::ReduceScatterOptions options;
    options.reduceOp = operation;
    return started(env, group, inputs, backend._reduce_scatter_base(own, input, options));
  }
  at::Tensor parts = at::empty_like(input);
  std::vector<int64_t> alike;
  auto work = backend.alltoall_base(parts, input, alike, alike);
  return started(env, group, inputs, std::move(work), [=] { reduce_rows(own, parts, operation); });
}

// barrier(group) → handle of the work
napi_value barrier(napi_env env, const Arguments& arguments) {
  const Group& group = to_joined(env, arguments[0]);
  return started(env, group, {}, group.gloo->barrier());
}

// waitFor(work) → promise, when the collective has ended on this rank. The handle is freed.
napi_value wait_for_work(napi_env env, const Arguments& arguments) {
  const double handle = to_double(env, arguments[0], "work handle");
  Work* found = distributed().works.find(handle);
  if (found == nullptr) throw UsageError("work handle is not alive");
  const Work work = *found;
  distributed().works.remove(handle);
  return in_background(
      env, "gblr.waitFor", [work] { wait_until_done(work); }, undefined_of);
}

namespace {

std::vector<uint8_t> to_bytes(const std::string& text) { return {text.begin(), text.end()}; }

} // namespace

// storeSet(group, key, text) → promise
napi_value store_set(napi_env env, const Arguments& arguments) {
  const auto store = to_joined(env, arguments[0]).store;
  const std::string key = to_string(env, arguments[1]);
  const std::string text = to_string(env, arguments[2]);
  return in_background(
      env, "gblr.storeSet", [=] { store->set(key, to_bytes(text)); }, undefined_of);
}

// storeGet(group, key) → promise of the text, undefined as long as no rank has set it. It does not wait, as a wait that
// takes too long leaves the connection of older versions unusable.
napi_value store_get(napi_env env, const Arguments& arguments) {
  const auto store = to_joined(env, arguments[0]).store;
  const std::string key = to_string(env, arguments[1]);
  auto found = std::make_shared<std::pair<bool, std::string>>(false, "");
  return in_background(
      env, "gblr.storeGet",
      [=] {
        if (!store->check({key})) return;
        const std::vector<uint8_t> bytes = store->get(key);
        *found = {true, std::string(bytes.begin(), bytes.end())};
      },
      [found](napi_env own) { return found->first ? from_text(own, found->second.c_str()) : undefined_of(own); });
}

bool has_process_groups() { return true; }

void leave_all_groups() {
  distributed().works.clear();
  distributed().groups.clear();
}

} // namespace gblr

#else

namespace gblr {

namespace {
napi_value refuse() { throw std::runtime_error("this libtorch has no headers of c10d's process groups"); }
} // namespace

napi_value join_group(napi_env, const Arguments&) { return refuse(); }
napi_value leave_group(napi_env, const Arguments&) { return refuse(); }
napi_value all_reduce(napi_env, const Arguments&) { return refuse(); }
napi_value broadcast(napi_env, const Arguments&) { return refuse(); }
napi_value all_gather(napi_env, const Arguments&) { return refuse(); }
napi_value reduce_scatter(napi_env, const Arguments&) { return refuse(); }
napi_value barrier(napi_env, const Arguments&) { return refuse(); }
napi_value wait_for_work(napi_env, const Arguments&) { return refuse(); }
napi_value store_set(napi_env, const Arguments&) { return refuse(); }
napi_value store_get(napi_env, const Arguments&) { return refuse(); }
napi_value use_nccl(napi_env, const Arguments&) { return refuse(); }
bool has_process_groups() { return false; }
bool has_nccl() { return false; }
void leave_all_groups() {}

} // namespace gblr

#endif

// The group of nccl.h, and what stands in its place in builds without NCCL.
#if __has_include(<torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>)

#include "nccl.h"

#include "../addon.h"

// Groups of version 1 take several tensors of one GPU for tensors of several GPUs.
#if GBLR_TORCH_AT_LEAST(2, 1) && defined(GBLR_NCCL_HEADERS)
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>

#include <cstdlib>
#include <vector>

namespace gblr {

namespace {

#if GBLR_TORCH_AT_LEAST(2, 2)
constexpr const char* kBlockingWait = "TORCH_NCCL_BLOCKING_WAIT";
#else
constexpr const char* kBlockingWait = "NCCL_BLOCKING_WAIT";
#endif

} // namespace

bool has_nccl() { return true; }

Backend* join_nccl(
    const c10::intrusive_ptr<c10d::Store>& store,
    int rank,
    int size,
    std::chrono::milliseconds timeout,
    c10::Device device) {
  // A wait ends when the tensors are there, or throws after the timeout. Otherwise a thread of NCCL's would end the process.
  setenv(kBlockingWait, "1", 0);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(
      c10::make_intrusive<c10d::PrefixStore>("nccl", store), rank, size, std::move(options));
  // The ranks meet at the first collective, which takes seconds, and fails where NCCL cannot reach another rank.
  const c10::DeviceGuard guard(device);
  std::vector<at::Tensor> one{at::ones({1}, at::TensorOptions().device(device))};
  group->allreduce(one)->wait();
  return group.release();
}

} // namespace gblr

#else

#include <stdexcept>

namespace gblr {

bool has_nccl() { return false; }

Backend* join_nccl(
    const c10::intrusive_ptr<c10d::Store>&, int, int, std::chrono::milliseconds, c10::Device) {
  throw std::runtime_error("the native engine is built without NCCL");
}

} // namespace gblr

#endif
#endif

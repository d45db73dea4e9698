// NCCL's process group, through which GPUs exchange tensors without their host. It is there if libtorch has it and the
// build found its headers (libtorch.ts); hosts always have Gloo.
#pragma once

#include <c10/core/Device.h>

#include <chrono>

#include "../compat.h"

#include <torch/csrc/distributed/c10d/Store.hpp>
#if GBLR_TORCH_AT_LEAST(2, 0)
#include <torch/csrc/distributed/c10d/Backend.hpp>
#else
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#endif

namespace gblr {

#if GBLR_TORCH_AT_LEAST(2, 0)
using Backend = c10d::Backend;
#else
using Backend = c10d::ProcessGroup;
#endif

// The group of all ranks, each with a GPU of its own. It has exchanged a number when this returns. It is never destroyed:
// that would cut off what other ranks may still read, and it ends with the process. Throws if there is no GPU.
Backend* join_nccl(
    const c10::intrusive_ptr<c10d::Store>& store,
    int rank,
    int size,
    std::chrono::milliseconds timeout,
    c10::Device device);

} // namespace gblr

// What CUDA's driver tells about its GPUs.
#pragma once

#include <node_api.h>

#include "call.h"

namespace gblr {

napi_value cuda_devices(napi_env env, const Arguments& arguments);
napi_value cuda_memory(napi_env env, const Arguments& arguments);

} // namespace gblr

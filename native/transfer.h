// Bytes in and out of tensors, and what can be asked of one.
#pragma once

#include "call.h"

namespace gblr {

napi_value from_bytes(napi_env env, const Arguments& arguments);
napi_value read(napi_env env, const Arguments& arguments);
napi_value read_async(napi_env env, const Arguments& arguments);
napi_value describe_tensor(napi_env env, const Arguments& arguments);
napi_value is_shared(napi_env env, const Arguments& arguments);

} // namespace gblr

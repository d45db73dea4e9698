// What multiplies matrices on the CPU.
#pragma once

#include "call.h"

namespace gblr {

napi_value blas(napi_env env, const Arguments& arguments);

} // namespace gblr

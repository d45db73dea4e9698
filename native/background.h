// Runs work on a thread of the JavaScript runtime's pool, and gives JavaScript a promise of the result.
#pragma once

#include <node_api.h>

#include <functional>

namespace gblr {

// `work` must not use `env`. `result` runs on JavaScript's thread afterwards; what it returns resolves the promise. If
// either throws, the promise is rejected with an Error that has its message.
napi_value in_background(napi_env env, const char* name, std::function<void()> work,
                         std::function<napi_value(napi_env)> result);

} // namespace gblr

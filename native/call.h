// The dispatcher as functions, and what every exported function shares.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <stdexcept>
#include <string>

namespace gblr {

// What JavaScript passed. Lies on the stack of the exported function: reading an argument may run JavaScript (a getter, a
// proxy), which may call back into the addon.
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

napi_value has_operator(napi_env env, const Arguments& arguments);
napi_value lookup(napi_env env, const Arguments& arguments);
napi_value tensor_results(napi_env env, const Arguments& arguments);
napi_value schema(napi_env env, const Arguments& arguments);
napi_value call(napi_env env, const Arguments& arguments);

} // namespace gblr

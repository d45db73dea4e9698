// The dispatcher as functions, and what every exported function shares.
#pragma once

#include <node_api.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace gblr {

using Arguments = std::vector<napi_value>;

// An operator that threw: JavaScript gets "aten::mm: <ATen's own message>".
struct OperatorError : std::runtime_error {
  OperatorError(const std::string& op, std::string message)
      : std::runtime_error(op + ": " + message.substr(0, message.find("\nException raised from"))) {}
};

napi_value has_operator(napi_env env, const Arguments& arguments);
napi_value lookup(napi_env env, const Arguments& arguments);
napi_value schema(napi_env env, const Arguments& arguments);
napi_value call(napi_env env, const Arguments& arguments);

} // namespace gblr

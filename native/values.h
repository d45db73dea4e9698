// Converts JavaScript values to and from ATen's boxed values according to the operator's schema.
#pragma once

#include <node_api.h>

#include <stdexcept>
#include <string>

#include "state.h"

namespace gblr {

// A wrong call from JavaScript, which becomes a TypeError with this message.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void check(napi_env env, napi_status status, const char* what);

c10::ScalarType parse_dtype(const std::string& name);
const char* dtype_name(c10::ScalarType type);
// Throws UsageError also for a GPU that does not exist.
c10::Device parse_device(const std::string& name);
// The number of GPUs. Does not create a CUDA context.
int cuda_count();

std::string to_string(napi_env env, napi_value value);
double to_double(napi_env env, napi_value value, const char* what);
int64_t to_integer(napi_env env, napi_value value, const char* what);
at::Tensor& to_tensor(napi_env env, napi_value value);

Crossing crossing_of(const c10::Argument& argument);
c10::IValue to_ivalue(napi_env env, napi_value value, const Operator& op, size_t index);
napi_value from_ivalue(napi_env env, const c10::IValue& value, size_t& meta_used);
napi_value from_tensor(napi_env env, at::Tensor tensor, size_t& meta_used);
napi_value from_number(napi_env env, double value);
napi_value from_boolean(napi_env env, bool value);
napi_value from_text(napi_env env, const char* value);
void set_number(napi_env env, napi_value object, const char* key, double value);

} // namespace gblr

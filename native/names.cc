// Dtypes and devices by the names that JavaScript gives them.
#include "values.h"

namespace gblr {

namespace {

struct Dtype {
  const char* name;
  c10::ScalarType type;
};
constexpr Dtype kDtypes[] = {
    {"float32", c10::ScalarType::Float},   {"float64", c10::ScalarType::Double}, {"float16", c10::ScalarType::Half},
    {"bfloat16", c10::ScalarType::BFloat16}, {"int8", c10::ScalarType::Char},    {"int16", c10::ScalarType::Short},
    {"int32", c10::ScalarType::Int},       {"int64", c10::ScalarType::Long},     {"uint8", c10::ScalarType::Byte},
    {"bool", c10::ScalarType::Bool},       {"complex64", c10::ScalarType::ComplexFloat},
};

} // namespace

c10::ScalarType parse_dtype(const std::string& name) {
  for (const auto& dtype : kDtypes)
    if (name == dtype.name) return dtype.type;
  throw UsageError("dtype \"" + name + "\" is unknown");
}

const char* dtype_name(c10::ScalarType type) {
  for (const auto& dtype : kDtypes)
    if (type == dtype.type) return dtype.name;
  return c10::toString(type);
}

c10::Device parse_device(const std::string& name) {
  try {
    return c10::Device(name);
  } catch (const c10::Error&) {
    throw UsageError("device \"" + name + "\" is unknown");
  }
}

} // namespace gblr

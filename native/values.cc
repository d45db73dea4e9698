// Converts JavaScript values to and from ATen's boxed values. Defines what each kind of argument accepts and the error
// for anything else. Names of dtypes and devices are in names.cc.
#include "values.h"

#include <cmath>
#include <sstream>

#include "compat.h"

namespace gblr {

namespace {

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::kTensor: return "a tensor handle";
    case Kind::kInt: return "an integer";
    case Kind::kLayout: return "a layout (0, strided)";
    case Kind::kMemoryFormat: return "a memory format (0 to 3)";
    case Kind::kFloat: return "a number";
    case Kind::kBool: return "a boolean";
    case Kind::kScalar: return "a number or boolean";
    case Kind::kString: return "a string";
    case Kind::kDtype: return "a dtype name";
    case Kind::kDevice: return "a device name";
    case Kind::kGenerator: return "a generator handle";
    case Kind::kOther: return "a value of a type that cannot cross";
  }
  return "?";
}

std::string describe(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  switch (type) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return "a boolean";
    case napi_string: return "the string \"" + to_string(env, value) + "\"";
    case napi_number: {
      double number = 0;
      napi_get_value_double(env, value, &number);
      std::ostringstream out;
      out.precision(17);
      out << number;
      return out.str();
    }
    case napi_object: {
      bool array = false;
      napi_is_array(env, value, &array);
      return array ? "an array" : "an object";
    }
    default: return "a value of another type";
  }
}

[[noreturn]] void mismatch(napi_env env, napi_value value, const Operator& op, size_t index) {
  const auto& crossing = op.arguments[index];
  std::string wanted = kind_name(crossing.kind);
  if (crossing.list) wanted = "an array, each item " + wanted;
  if (crossing.optional) wanted += " or null";
  if ((crossing.kind == Kind::kTensor || crossing.kind == Kind::kGenerator) && !crossing.list) {
    napi_valuetype type;
    napi_typeof(env, value, &type);
    if (type == napi_number) wanted += " that is alive (this one was freed or never given out)";
  }
  throw UsageError(op.name + ": argument '" + op.handle.schema().arguments()[index].name() + "' must be " + wanted +
                   ", got " + describe(env, value));
}

// A whole number stays an integer scalar so that integer tensors are not promoted to float.
c10::Scalar to_scalar(double number) {
  const bool whole = std::trunc(number) == number && std::abs(number) <= 9007199254740992.0;
  const bool negative_zero = number == 0 && std::signbit(number);
  return whole && !negative_zero ? c10::Scalar(static_cast<int64_t>(number)) : c10::Scalar(number);
}

// One value of a kind; false when the JavaScript value is not of that kind.
bool convert(napi_env env, napi_value value, Kind kind, c10::IValue& out) {
  double number = 0;
  bool truth = false;
  switch (kind) {
    case Kind::kTensor: {
      if (napi_get_value_double(env, value, &number) != napi_ok) return false;
      at::Tensor* tensor = state().tensors.find(number);
      if (tensor == nullptr) return false;
      out = *tensor;
      return true;
    }
    case Kind::kGenerator: {
      if (napi_get_value_double(env, value, &number) != napi_ok) return false;
      at::Generator* generator = state().generators.find(number);
      if (generator == nullptr) return false;
      out = *generator;
      return true;
    }
    case Kind::kInt:
    case Kind::kLayout:
    case Kind::kMemoryFormat: {
      if (napi_get_value_double(env, value, &number) != napi_ok) return false;
      if (std::trunc(number) != number || std::abs(number) > 9007199254740992.0) return false;
      // ATen converts these two to enumerators without a check.
      const double most = kind == Kind::kLayout ? 0 : 3;
      if (kind != Kind::kInt && (number < 0 || number > most)) return false;
      out = static_cast<int64_t>(number);
      return true;
    }
    case Kind::kFloat:
      if (napi_get_value_double(env, value, &number) != napi_ok) return false;
      out = number;
      return true;
    case Kind::kBool:
      if (napi_get_value_bool(env, value, &truth) != napi_ok) return false;
      out = truth;
      return true;
    case Kind::kScalar:
      if (napi_get_value_double(env, value, &number) == napi_ok) {
        out = to_scalar(number);
        return true;
      }
      if (napi_get_value_bool(env, value, &truth) != napi_ok) return false;
      out = c10::Scalar(truth);
      return true;
    case Kind::kString:
    case Kind::kDtype:
    case Kind::kDevice: {
      napi_valuetype type;
      if (napi_typeof(env, value, &type) != napi_ok || type != napi_string) return false;
      const std::string text = to_string(env, value);
      if (kind == Kind::kString) out = text;
      else if (kind == Kind::kDtype) out = static_cast<int64_t>(parse_dtype(text));
      else out = parse_device(text);
      return true;
    }
    case Kind::kOther: return false;
  }
  return false;
}

bool absent(napi_env env, napi_value value) {
  napi_valuetype type;
  return napi_typeof(env, value, &type) == napi_ok && (type == napi_null || type == napi_undefined);
}

// Fills a typed list from a JavaScript array through `push(item)`.
template <typename Push>
bool each_item(napi_env env, napi_value value, Kind kind, bool optional_items, Push push) {
  bool array = false;
  uint32_t length = 0;
  if (napi_is_array(env, value, &array) != napi_ok || !array) return false;
  check(env, napi_get_array_length(env, value, &length), "array length");
  for (uint32_t i = 0; i < length; ++i) {
    napi_value item;
    check(env, napi_get_element(env, value, i, &item), "array item");
    c10::IValue converted;
    if (!(optional_items && absent(env, item)) && !convert(env, item, kind, converted)) return false;
    push(converted);
  }
  return true;
}

bool convert_list(napi_env env, napi_value value, const Crossing& crossing, c10::IValue& out) {
  const auto each = [&](auto push) { return each_item(env, value, crossing.kind, crossing.optional_items, push); };
  bool ok = false;
  switch (crossing.kind) {
    case Kind::kTensor:
      if (crossing.optional_items) {
        c10::List<Optional<at::Tensor>> list;
        ok = each([&](const c10::IValue& v) {
          list.push_back(v.isNone() ? Optional<at::Tensor>() : Optional<at::Tensor>(v.toTensor()));
        });
        out = std::move(list);
      } else {
        std::vector<at::Tensor> list;
        ok = each([&](const c10::IValue& v) { list.push_back(v.toTensor()); });
        out = std::move(list);
      }
      return ok;
    case Kind::kInt: {
      std::vector<int64_t> list;
      ok = each([&](const c10::IValue& v) { list.push_back(v.toInt()); });
      out = std::move(list);
      return ok;
    }
    case Kind::kFloat: {
      std::vector<double> list;
      ok = each([&](const c10::IValue& v) { list.push_back(v.toDouble()); });
      out = std::move(list);
      return ok;
    }
    case Kind::kBool: {
      c10::List<bool> list;
      ok = each([&](const c10::IValue& v) { list.push_back(v.toBool()); });
      out = std::move(list);
      return ok;
    }
    case Kind::kScalar: {
      c10::List<c10::Scalar> list;
      ok = each([&](const c10::IValue& v) { list.push_back(v.toScalar()); });
      out = c10::IValue(std::move(list));
      return ok;
    }
    default: return false;
  }
}

} // namespace

void check(napi_env env, napi_status status, const char* what) {
  if (status == napi_ok) return;
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw UsageError(std::string(what) + ": " + (info && info->error_message ? info->error_message : "not accepted"));
}

std::string to_string(napi_env env, napi_value value) {
  size_t length = 0;
  check(env, napi_get_value_string_utf8(env, value, nullptr, 0, &length), "string");
  std::string text(length, '\0');
  check(env, napi_get_value_string_utf8(env, value, &text[0], length + 1, &length), "string");
  return text;
}

double to_double(napi_env env, napi_value value, const char* what) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok)
    throw UsageError(std::string(what) + " must be a number, got " + describe(env, value));
  return number;
}

int64_t to_integer(napi_env env, napi_value value, const char* what) {
  const double number = to_double(env, value, what);
  if (std::trunc(number) != number || std::abs(number) > 9007199254740992.0)
    throw UsageError(std::string(what) + " must be an integer, got " + describe(env, value));
  return static_cast<int64_t>(number);
}

at::Tensor& to_tensor(napi_env env, napi_value value) {
  at::Tensor* tensor = state().tensors.find(to_double(env, value, "tensor handle"));
  if (tensor == nullptr)
    throw UsageError("tensor handle " + describe(env, value) + " is not alive: it was freed or never given out");
  return *tensor;
}

Crossing crossing_of(const c10::Argument& argument) {
  Crossing crossing;
  // The schema keeps them alive. real_type() distinguishes a dtype from an int, type() does not.
  const c10::Type* type = argument.real_type().get();
  const auto unwrap = [&type](bool& flag) {
    if (type->kind() != c10::TypeKind::OptionalType) return;
    flag = true;
    type = type->castRaw<c10::OptionalType>()->getElementType().get();
  };
  unwrap(crossing.optional);
  if (type->kind() == c10::TypeKind::ListType) {
    crossing.list = true;
    type = type->castRaw<c10::ListType>()->getElementType().get();
    unwrap(crossing.optional_items);
  }
  switch (type->kind()) {
    case c10::TypeKind::TensorType: crossing.kind = Kind::kTensor; break;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: crossing.kind = Kind::kInt; break;
    case c10::TypeKind::LayoutType: crossing.kind = Kind::kLayout; break;
    case c10::TypeKind::MemoryFormatType: crossing.kind = Kind::kMemoryFormat; break;
    case c10::TypeKind::FloatType:
    case c10::TypeKind::SymFloatType: crossing.kind = Kind::kFloat; break;
    case c10::TypeKind::BoolType: crossing.kind = Kind::kBool; break;
    case c10::TypeKind::NumberType: crossing.kind = Kind::kScalar; break;
    case c10::TypeKind::StringType: crossing.kind = Kind::kString; break;
    case c10::TypeKind::ScalarTypeType: crossing.kind = Kind::kDtype; break;
    case c10::TypeKind::DeviceObjType: crossing.kind = Kind::kDevice; break;
    case c10::TypeKind::GeneratorType: crossing.kind = Kind::kGenerator; break;
    default: break;
  }
  return crossing;
}

// The backward operators of attention accept undefined tensors under these names, which a schema cannot express.
static bool may_be_undefined(const c10::Argument& argument) {
  const std::string& name = argument.name();
  return name == "attn_bias" || name == "cum_seq_q" || name == "cum_seq_k";
}

c10::IValue to_ivalue(napi_env env, napi_value value, const Operator& op, size_t index) {
  const Crossing& crossing = op.arguments[index];
  c10::IValue out;
  const bool ok = crossing.list ? convert_list(env, value, crossing, out) : convert(env, value, crossing.kind, out);
  if (ok) return out;
  const auto& argument = op.handle.schema().arguments()[index];
  if (absent(env, value)) {
    napi_valuetype type;
    napi_typeof(env, value, &type);
    if (type == napi_undefined && argument.default_value()) return *argument.default_value();
    if (crossing.optional) return c10::IValue();
    if (crossing.kind == Kind::kTensor && !crossing.list && may_be_undefined(argument)) return at::Tensor();
  }
  mismatch(env, value, op, index);
}

napi_value from_number(napi_env env, double value) {
  napi_value result;
  check(env, napi_create_double(env, value, &result), "number");
  return result;
}

napi_value from_boolean(napi_env env, bool value) {
  napi_value result;
  check(env, napi_get_boolean(env, value, &result), "boolean");
  return result;
}

napi_value from_text(napi_env env, const char* value) {
  napi_value result;
  check(env, napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &result), "string");
  return result;
}

void set_number(napi_env env, napi_value object, const char* key, double value) {
  check(env, napi_set_named_property(env, object, key, from_number(env, value)), key);
}

napi_value from_tensor(napi_env env, at::Tensor tensor, size_t& meta_used) {
  if (!tensor.defined()) {
    napi_value null;
    check(env, napi_get_null(env, &null), "null");
    return null;
  }
  State& s = state();
  const auto sizes = tensor.sizes();
  if (meta_used + 2 + sizes.size() <= s.meta_length) {
    s.meta[meta_used++] = static_cast<double>(tensor.scalar_type());
    s.meta[meta_used++] = static_cast<double>(sizes.size());
    for (const auto size : sizes) s.meta[meta_used++] = static_cast<double>(size);
  } else {
    meta_used = s.meta_length; // JavaScript asks for the shapes of the rest one by one
  }
  return from_number(env, s.tensors.add(std::move(tensor)));
}

napi_value from_ivalue(napi_env env, const c10::IValue& value, size_t& meta_used) {
  napi_value result;
  if (value.isTensor()) return from_tensor(env, value.toTensor(), meta_used);
  if (value.isDouble()) return from_number(env, value.toDouble());
  if (value.isInt()) return from_number(env, static_cast<double>(value.toInt()));
  if (value.isScalar()) return from_number(env, value.toScalar().toDouble());
  if (value.isBool()) return from_boolean(env, value.toBool());
  if (value.isNone()) {
    check(env, napi_get_null(env, &result), "null");
    return result;
  }
  if (value.isString()) {
    const std::string& text = value.toStringRef();
    check(env, napi_create_string_utf8(env, text.data(), text.size(), &result), "string");
    return result;
  }
  if (value.isList()) {
    const auto items = value.toListRef();
    check(env, napi_create_array_with_length(env, items.size(), &result), "array");
    for (size_t i = 0; i < items.size(); ++i)
      check(env, napi_set_element(env, result, i, from_ivalue(env, items[i], meta_used)), "array item");
    return result;
  }
  throw UsageError("a result of type " + value.tagKind() + " cannot cross to JavaScript");
}

} // namespace gblr

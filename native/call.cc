// Exposes ATen's dispatcher: `lookup` finds an operator by name, `call` runs it on boxed arguments.
#include "addon.h"

#include <ATen/core/LegacyTypeDispatch.h>

#include "compat.h"
#include "values.h"

namespace gblr {

namespace {

Optional<c10::OperatorHandle> find(const std::string& name, const std::string& overload) {
  return c10::Dispatcher::singleton().findSchema(c10::OperatorName(name, overload));
}

const Operator& to_operator(napi_env env, napi_value value) {
  const State& s = state();
  const int64_t id = to_integer(env, value, "operator");
  if (id < 0 || id >= static_cast<int64_t>(s.operators.size()))
    throw UsageError("operator " + std::to_string(id) + " was never looked up");
  return s.operators[id];
}

// Takes the state's argument stack for one call and returns it empty, with its memory. A nested call, from a getter,
// gets a new stack.
class StackScope {
 public:
  explicit StackScope(std::vector<c10::IValue>& lender) : lender_(lender) {
    stack.swap(lender_);
  }
  ~StackScope() {
    stack.clear();
    stack.swap(lender_);
  }
  std::vector<c10::IValue> stack;

 private:
  std::vector<c10::IValue>& lender_;
};

} // namespace

napi_value has_operator(napi_env env, const Arguments& arguments) {
  return from_boolean(env, find(to_string(env, arguments[0]), to_string(env, arguments[1])).has_value());
}

napi_value lookup(napi_env env, const Arguments& arguments) {
  State& s = state();
  const std::string base = to_string(env, arguments[0]), overload = to_string(env, arguments[1]);
  const std::string name = overload.empty() ? base : base + "." + overload;
  const auto known = s.operator_ids.find(name);
  if (known != s.operator_ids.end()) return from_number(env, known->second);
  const auto handle = find(base, overload);
  if (!handle) throw UsageError("operator " + name + " does not exist in this libtorch");
  Operator op{*handle, name, {}};
  for (const auto& argument : handle->schema().arguments()) op.arguments.push_back(crossing_of(argument));
  const auto id = static_cast<uint32_t>(s.operators.size());
  s.operators.push_back(std::move(op));
  s.operator_ids.emplace(name, id);
  return from_number(env, id);
}

napi_value schema(napi_env env, const Arguments& arguments) {
  const auto handle = find(to_string(env, arguments[0]), to_string(env, arguments[1]));
  if (!handle) throw UsageError("operator " + to_string(env, arguments[0]) + " does not exist in this libtorch");
  std::ostringstream text;
  text << handle->schema();
  napi_value result;
  check(env, napi_create_string_utf8(env, text.str().c_str(), NAPI_AUTO_LENGTH, &result), "string");
  return result;
}

// tensorResults(operator) → for each result, whether it is a tensor or a list of tensors by its schema. Callers need
// this because handles and numeric results are both numbers.
napi_value tensor_results(napi_env env, const Arguments& arguments) {
  napi_value result;
  check(env, napi_create_array(env, &result), "array");
  uint32_t index = 0;
  for (const auto& returned : to_operator(env, arguments[0]).handle.schema().returns()) {
    napi_value is_tensor;
    check(env, napi_get_boolean(env, crossing_of(returned).kind == Kind::kTensor, &is_tensor), "boolean");
    check(env, napi_set_element(env, result, index++, is_tensor), "array item");
  }
  return result;
}

// call(operator, ...arguments): undefined or missing arguments take the schema's default. Returns a handle, a number,
// a boolean, null, or an array of these; shapes of returned tensors go to `state().meta`.
napi_value call(napi_env env, const Arguments& arguments) {
  State& s = state();
  const Operator& op = to_operator(env, arguments[0]);
  const auto& declared = op.handle.schema().arguments();
  const size_t given = arguments.size() - 1;
  if (given > declared.size())
    throw UsageError(op.name + ": takes " + std::to_string(declared.size()) + " arguments, got " +
                     std::to_string(given));
  StackScope scope(s.stack);
  auto& stack = scope.stack;
  for (size_t i = 0; i < declared.size(); ++i) {
    if (i < given) {
      stack.push_back(to_ivalue(env, arguments[i + 1], op, i));
    } else {
      if (!declared[i].default_value())
        throw UsageError(op.name + ": argument '" + declared[i].name() + "' is missing");
      stack.push_back(*declared[i].default_value());
    }
  }
  {
    // TensorFlow.js computes gradients, so ATen need not record operations.
    at::AutoDispatchBelowADInplaceOrView no_autograd;
    try {
      op.handle.callBoxed(stack);
    } catch (const c10::Error& error) {
      throw OperatorError(op.name, error.what_without_backtrace());
    } catch (const std::exception& error) {
      throw OperatorError(op.name, error.what());
    }
  }
  size_t meta_used = 0;
  if (stack.size() == 1) return from_ivalue(env, stack[0], meta_used);
  napi_value result;
  if (stack.empty()) {
    check(env, napi_get_null(env, &result), "null");
    return result;
  }
  check(env, napi_create_array_with_length(env, stack.size(), &result), "array");
  for (size_t i = 0; i < stack.size(); ++i)
    check(env, napi_set_element(env, result, i, from_ivalue(env, stack[i], meta_used)), "array item");
  return result;
}

} // namespace gblr

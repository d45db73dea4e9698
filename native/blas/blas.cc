// Reports the BLAS that this process uses.
#include "../addon.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <dlfcn.h>

#include <string>

#include "../values.h"

namespace gblr {

namespace {

using Text = const char* (*)();

Text openblas(const char* function) {
  return reinterpret_cast<Text>(dlsym(RTLD_DEFAULT, function));
}

// The file of a BLAS that does not report its name.
std::string file_of_products() {
  void* product = dlsym(RTLD_DEFAULT, "sgemm_");
  Dl_info info;
  return product != nullptr && dladdr(product, &info) != 0 ? info.dli_fname : "none";
}

void set_text(napi_env env, napi_value object, const char* key, const std::string& value) {
  napi_value text;
  check(env, napi_create_string_utf8(env, value.data(), value.size(), &text), "string");
  check(env, napi_set_named_property(env, object, key, text), key);
}

} // namespace

// blas() → { description, core }. `core` is OpenBLAS's name for the kernels it runs; absent for other libraries.
napi_value blas(napi_env env, const Arguments&) {
  napi_value result;
  check(env, napi_create_object(env, &result), "object");
  const Text config = openblas("openblas_get_config"), core = openblas("openblas_get_corename");
  if (config != nullptr && core != nullptr) {
    set_text(env, result, "description", config());
    set_text(env, result, "core", core());
  } else {
    set_text(env, result, "description", at::hasMKL() ? at::get_mkl_version() : file_of_products());
  }
  return result;
}

} // namespace gblr

// The file that the JavaScript runtime loads. It exports `load`, which sets the variables that OpenMP and OpenBLAS read
// once, when they are loaded, and then loads libgblr.so beside it, the addon itself, with libtorch. When libtorch does
// not load, the error has the loader's message.
#include <dlfcn.h>
#include <node_api.h>

#include <cstdlib>
#include <string>

namespace {

using Init = napi_value (*)(napi_env, napi_value);

std::string beside_this_file(const char* name) {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&beside_this_file), &self) == 0) return name;
  const std::string path = self.dli_fname;
  return path.substr(0, path.rfind('/') + 1) + name;
}

// Sets OpenBLAS's variable for the kernels while OpenBLAS is being loaded, unless the user has set it. Processes
// started later do not inherit it, because they may load another OpenBLAS.
class CoreType {
 public:
  explicit CoreType(const std::string& value) : ours_(!value.empty() && std::getenv(kName) == nullptr) {
    if (ours_) setenv(kName, value.c_str(), /*overwrite=*/0);
  }
  ~CoreType() {
    if (ours_) unsetenv(kName);
  }

 private:
  static constexpr const char* kName = "OPENBLAS_CORETYPE";
  const bool ours_;
};

// Empty when the argument is absent or not a string.
std::string first_argument(napi_env env, napi_callback_info info) {
  size_t count = 1, length = 0;
  napi_value argument = nullptr;
  char text[64] = "";
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  if (count > 0) napi_get_value_string_utf8(env, argument, text, sizeof text, &length);
  return text;
}

// load(kernels?) → the addon. `kernels` names the kernels that OpenBLAS uses; without it OpenBLAS chooses.
napi_value load(napi_env env, napi_callback_info info) {
#ifdef GBLR_PASSIVE_WAIT
  // The system's BLAS has its own threads; OpenMP's threads, which spin between operations, would take their cores.
  setenv("OMP_WAIT_POLICY", "PASSIVE", /*overwrite=*/0);
  // They still spin for a few microseconds, because sleeping and waking costs more than a small operation.
  setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/0);
  // Likewise OpenBLAS's threads spin for 2^26 cycles by default, during the operations between products.
  setenv("OPENBLAS_THREAD_TIMEOUT", "14", /*overwrite=*/0);
#endif
  const CoreType core_type(first_argument(env, info));
  void* addon = dlopen(beside_this_file("libgblr.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  void* init = addon ? dlsym(addon, "gblr_init") : nullptr;
  napi_value exports = nullptr;
  if (init == nullptr) {
    napi_throw_error(env, "GBLR_LOAD", dlerror());
    return exports;
  }
  napi_create_object(env, &exports);
  return reinterpret_cast<Init>(init)(env, exports);
}

} // namespace

NAPI_MODULE_INIT() {
  napi_value function;
  if (napi_create_function(env, "load", NAPI_AUTO_LENGTH, load, nullptr, &function) != napi_ok ||
      napi_set_named_property(env, exports, "load", function) != napi_ok)
    napi_throw_error(env, "GBLR_LOAD", "the addon could not define its functions");
  return exports;
}

// The file that the runtime loads. It sets what OpenMP reads once, when it is loaded, and only then loads the addon
// proper, libgblr.so beside it, with libtorch. A libtorch that does not load becomes an error with the loader's words.
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

} // namespace

NAPI_MODULE_INIT() {
#ifdef GBLR_PASSIVE_WAIT
  // The system's BLAS has threads of its own: OpenMP's, spinning between two operations, would take their cores.
  setenv("OMP_WAIT_POLICY", "PASSIVE", /*overwrite=*/0);
  // But for a few microseconds: sleeping and waking costs more than a small operation.
  setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/0);
  // And the other way round: OpenBLAS's threads spin for 2^26 cycles by default, through the operations between products.
  setenv("OPENBLAS_THREAD_TIMEOUT", "14", /*overwrite=*/0);
#endif
  void* addon = dlopen(beside_this_file("libgblr.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  void* init = addon ? dlsym(addon, "gblr_init") : nullptr;
  if (init == nullptr) {
    napi_throw_error(env, "GBLR_LOAD", dlerror());
    return exports;
  }
  return reinterpret_cast<Init>(init)(env, exports);
}

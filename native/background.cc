#include "background.h"

#include <c10/util/Exception.h>

#include <memory>
#include <string>

#include "values.h"

namespace gblr {

namespace {

struct Pending {
  Pending(napi_env environment, std::function<void()> to_do, std::function<napi_value(napi_env)> then)
      : env(environment), work(std::move(to_do)), result(std::move(then)) {}
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  ~Pending() {
    if (task != nullptr) napi_delete_async_work(env, task);
  }
  napi_env env;
  napi_async_work task = nullptr;
  napi_deferred deferred = nullptr;
  std::function<void()> work;
  std::function<napi_value(napi_env)> result;
  std::string failure;
};

void reject(napi_env env, napi_deferred deferred, const std::string& why) {
  napi_value message, reason;
  napi_create_string_utf8(env, why.c_str(), why.size(), &message);
  napi_create_error(env, nullptr, message, &reason);
  napi_reject_deferred(env, deferred, reason);
}

void run(napi_env, void* data) {
  auto* pending = static_cast<Pending*>(data);
  try {
    pending->work();
  } catch (const c10::Error& error) {
    pending->failure = error.what_without_backtrace();
  } catch (const std::exception& error) {
    pending->failure = error.what();
  }
}

void finish(napi_env env, napi_status, void* data) {
  const std::unique_ptr<Pending> pending(static_cast<Pending*>(data));
  try {
    if (!pending->failure.empty()) throw std::runtime_error(pending->failure);
    check(env, napi_resolve_deferred(env, pending->deferred, pending->result(env)), "promise");
  } catch (const std::exception& error) {
    reject(env, pending->deferred, error.what());
  }
}

} // namespace

napi_value in_background(napi_env env, const char* name, std::function<void()> work,
                         std::function<napi_value(napi_env)> result) {
  auto pending = std::make_unique<Pending>(env, std::move(work), std::move(result));
  napi_value promise, title;
  check(env, napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &title), "string");
  check(env, napi_create_async_work(env, nullptr, title, run, finish, pending.get(), &pending->task), name);
  check(env, napi_create_promise(env, &pending->deferred, &promise), "promise");
  if (napi_queue_async_work(env, pending->task) == napi_ok) {
    pending.release(); // finish takes it back
  } else {
    reject(env, pending->deferred, std::string(name) + ": the runtime took no asynchronous work");
  }
  return promise;
}

} // namespace gblr

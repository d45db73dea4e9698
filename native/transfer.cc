// Copies bytes into and out of tensors. A read from a GPU is queued after the pending computations; a worker thread
// waits for it. An upload to a GPU is queued, too, from a copy in pinned memory: it waits for no computation.
#include "addon.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <cstring>
#include <memory>

#include "background.h"
#include "compat.h"
#include "values.h"

namespace gblr {

namespace {

std::vector<int64_t> to_shape(napi_env env, napi_value value) {
  bool array = false;
  uint32_t rank = 0;
  if (napi_is_array(env, value, &array) != napi_ok || !array) throw UsageError("shape must be an array");
  check(env, napi_get_array_length(env, value, &rank), "shape");
  std::vector<int64_t> shape(rank);
  for (uint32_t i = 0; i < rank; ++i) {
    napi_value size;
    check(env, napi_get_element(env, value, i, &size), "shape");
    shape[i] = to_integer(env, size, "shape entry");
    if (shape[i] < 0) throw UsageError("shape entry must not be negative, got " + std::to_string(shape[i]));
  }
  return shape;
}

struct Bytes {
  const void* data;
  size_t length;
};

Bytes to_bytes(napi_env env, napi_value value) {
  bool is_view = false;
  napi_is_typedarray(env, value, &is_view);
  if (!is_view) throw UsageError("data must be a typed array");
  napi_typedarray_type type;
  size_t items = 0;
  void* data = nullptr;
  check(env, napi_get_typedarray_info(env, value, &type, &items, &data, nullptr, nullptr), "data");
  static const size_t kItemSize[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 2};
  if (static_cast<size_t>(type) >= sizeof kItemSize / sizeof kItemSize[0]) throw UsageError("data has an unknown type");
  return {data, items * kItemSize[type]};
}

// Uploads of more bytes are copied from pageable memory, which waits for the GPU: pinned memory stays allocated.
constexpr size_t kMostPinned = size_t(256) << 20;

// A contiguous tensor in host memory. The copy from a GPU is queued after the pending computations.
at::Tensor on_host(const at::Tensor& tensor) {
  return tensor.device().is_cpu() ? tensor.contiguous() : tensor.contiguous().cpu();
}

napi_value to_array_buffer(napi_env env, const at::Tensor& host) {
  void* data = nullptr;
  napi_value buffer;
  check(env, napi_create_arraybuffer(env, host.nbytes(), &data, &buffer), "out of memory for the data read");
  if (host.nbytes() > 0) std::memcpy(data, host.data_ptr(), host.nbytes());
  return buffer;
}

} // namespace

// fromBytes(typed array, dtype, shape, device): copies.
napi_value from_bytes(napi_env env, const Arguments& arguments) {
  const Bytes bytes = to_bytes(env, arguments[0]);
  const auto dtype = parse_dtype(to_string(env, arguments[1]));
  const auto shape = to_shape(env, arguments[2]);
  const auto device = parse_device(to_string(env, arguments[3]));
  at::AutoDispatchBelowADInplaceOrView no_autograd;
  const bool pinned = device.is_cuda() && bytes.length > 0 && bytes.length <= kMostPinned;
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(dtype).pinned_memory(pinned));
  if (tensor.nbytes() != bytes.length)
    throw UsageError("data has " + std::to_string(bytes.length) + " bytes, the shape requires " +
                     std::to_string(tensor.nbytes()));
  if (bytes.length > 0) std::memcpy(tensor.data_ptr(), bytes.data, bytes.length);
  // The allocator of pinned memory gives the copy out again only after the GPU has read it.
  if (!device.is_cpu()) tensor = tensor.to(device, /*non_blocking=*/pinned);
  size_t no_meta = state().meta_length; // `meta` holds the latest call's results, which this is not
  return from_tensor(env, std::move(tensor), no_meta);
}

// writeValues(handle, at, typed array, dtype): converts numbers of that dtype to the tensor's, and stores them from
// element `at` on. A tensor is filled in pieces, so that its values are never in memory twice.
napi_value write_values(napi_env env, const Arguments& arguments) {
  const at::Tensor& tensor = to_tensor(env, arguments[0]);
  const int64_t first = to_integer(env, arguments[1], "at");
  const Bytes bytes = to_bytes(env, arguments[2]);
  const auto dtype = parse_dtype(to_string(env, arguments[3]));
  const size_t size = c10::elementSize(dtype);
  const auto count = static_cast<int64_t>(bytes.length / size);
  if (bytes.length % size != 0 || reinterpret_cast<uintptr_t>(bytes.data) % size != 0)
    throw UsageError("data must be whole numbers of " + std::to_string(size) + " bytes, aligned to their size");
  if (!tensor.is_contiguous() || first < 0 || first > tensor.numel() - count)
    throw UsageError("elements " + std::to_string(first) + " to " + std::to_string(first + count) +
                     " do not lie in a contiguous tensor of " + std::to_string(tensor.numel()));
  at::AutoDispatchBelowADInplaceOrView no_autograd;
  if (count > 0) {
    const at::Tensor values = at::from_blob(const_cast<void*>(bytes.data), {count}, at::TensorOptions().dtype(dtype));
    tensor.view({-1}).narrow(0, first, count).copy_(values);
  }
  return from_number(env, static_cast<double>(count));
}

napi_value read(napi_env env, const Arguments& arguments) {
  at::AutoDispatchBelowADInplaceOrView no_autograd;
  return to_array_buffer(env, on_host(to_tensor(env, arguments[0])));
}

napi_value read_async(napi_env env, const Arguments& arguments) {
  at::AutoDispatchBelowADInplaceOrView no_autograd;
  const at::Tensor tensor = to_tensor(env, arguments[0]).contiguous();
  at::Tensor host;
  std::shared_ptr<c10::Event> copied;
  if (tensor.device().is_cpu()) {
    // A view of live memory could be changed in place before the promise resolves.
    host = tensor.clone();
  } else {
    host = at::empty(tensor.sizes(), at::TensorOptions().dtype(tensor.scalar_type()).pinned_memory(true));
    host.copy_(tensor, /*non_blocking=*/true);
    const auto* guard = c10::impl::getDeviceGuardImpl(tensor.device().type());
    copied = std::make_shared<c10::Event>(tensor.device().type());
    copied->record(guard->getStream(tensor.device()));
  }
  return in_background(
      env, "gblr.read",
      [copied] {
        if (copied) wait_for(*copied);
      },
      [host](napi_env own) { return to_array_buffer(own, host); });
}

// describe(handle) → [dtype, device, ...shape]
napi_value describe_tensor(napi_env env, const Arguments& arguments) {
  const at::Tensor& tensor = to_tensor(env, arguments[0]);
  napi_value result, dtype, device;
  check(env, napi_create_array(env, &result), "array");
  check(env, napi_create_string_utf8(env, dtype_name(tensor.scalar_type()), NAPI_AUTO_LENGTH, &dtype), "string");
  check(env, napi_create_string_utf8(env, tensor.device().str().c_str(), NAPI_AUTO_LENGTH, &device), "string");
  check(env, napi_set_element(env, result, 0, dtype), "array item");
  check(env, napi_set_element(env, result, 1, device), "array item");
  for (int64_t i = 0; i < tensor.dim(); ++i)
    check(env, napi_set_element(env, result, 2 + i, from_number(env, static_cast<double>(tensor.size(i)))), "item");
  return result;
}

// Whether another tensor shares the memory, so that an update in place would change it as well.
napi_value is_shared(napi_env env, const Arguments& arguments) {
  return from_boolean(env, to_tensor(env, arguments[0]).storage().use_count() > 1);
}

} // namespace gblr

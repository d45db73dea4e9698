// The addon's state for one JavaScript thread: its tensors and generators behind integer handles, the operators it has
// looked up, and the small array in which a call returns the shapes of its results to JavaScript.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

namespace gblr {

// A handle is generation * 2^24 + slot. This is exact in a double, and the handle of a freed tensor is recognized.
template <typename T>
class HandleTable {
 public:
  double add(T value) {
    uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<uint32_t>(slots_.size());
      TORCH_CHECK(slot < kSlots, "more than ", kSlots, " tensors are alive");
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].value = std::move(value);
    slots_[slot].alive = true;
    return static_cast<double>(slots_[slot].generation) * kSlots + slot;
  }

  // nullptr when the handle was never issued or has been freed
  T* find(double handle) {
    if (!(handle >= 0 && handle < 9007199254740992.0)) return nullptr;
    const auto bits = static_cast<uint64_t>(handle);
    const auto slot = static_cast<uint32_t>(bits % kSlots);
    if (static_cast<double>(bits) != handle || slot >= slots_.size()) return nullptr;
    Slot& entry = slots_[slot];
    return entry.alive && entry.generation == bits / kSlots ? &entry.value : nullptr;
  }

  bool remove(double handle) {
    if (find(handle) == nullptr) return false;
    const auto slot = static_cast<uint32_t>(static_cast<uint64_t>(handle) % kSlots);
    slots_[slot].value = T();
    slots_[slot].alive = false;
    slots_[slot].generation = slots_[slot].generation % kGenerations + 1;
    free_.push_back(slot);
    return true;
  }

  size_t size() const { return slots_.size() - free_.size(); }

  void clear() {
    slots_.clear();
    free_.clear();
  }

 private:
  static constexpr uint32_t kSlots = 1u << 24;
  static constexpr uint32_t kGenerations = (1u << 29) - 1;
  struct Slot {
    T value;
    uint32_t generation = 1;
    bool alive = false;
  };
  std::deque<Slot> slots_;
  std::vector<uint32_t> free_;
};

// How an argument or result of an operator is converted; determined once, when the operator is looked up.
enum class Kind { kTensor, kInt, kLayout, kMemoryFormat, kFloat, kBool, kScalar, kString, kDtype, kDevice, kGenerator, kOther };

struct Crossing {
  Kind kind = Kind::kOther;
  bool optional = false;       // T?
  bool list = false;           // T[]
  bool optional_items = false; // T?[]
};

struct Operator {
  c10::OperatorHandle handle;
  std::string name;
  std::vector<Crossing> arguments;
};

struct State {
  HandleTable<at::Tensor> tensors;
  HandleTable<at::Generator> generators;
  std::deque<Operator> operators; // a deque does not move its elements, to which calls hold references
  std::unordered_map<std::string, uint32_t> operator_ids;
  std::vector<c10::IValue> stack; // reused, so that a call does not allocate
  double* meta = nullptr;         // [dtype, rank, sizes…] of each tensor result, in order; see call.cc
  size_t meta_length = 0;
};

// One per JavaScript thread: a worker that loads the addon has its own tensors.
State& state();

} // namespace gblr

// PyTorch's ProcessGroupGloo.hpp includes headers of Gloo, which wheels of PyTorch do not bring, although the library
// itself is in libtorch. These files declare what that header names of Gloo, and nothing else. The addon makes no object
// of these classes: it passes pointers from one function of libtorch to another.
#pragma once

#include <chrono>
#include <memory>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {
class UnboundBuffer;
} // namespace transport

} // namespace gloo

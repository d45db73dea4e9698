// A separate program, built beside the addon: `blas-probe <library> <seconds> [kernels]` loads libtorch or a BLAS, and
// prints one line of JSON: which OpenBLAS came with it, which of its kernels run (those named, or OpenBLAS's own
// choice), whether they multiply correctly, and how fast. Kernels that crash or hang end this process, not the one that
// started it.
#include <dlfcn.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

namespace {

// Integers are passed by reference, as 64 bits: a BLAS with 32-bit integers reads the lower half.
using Integer = int64_t;
template <typename T>
using Gemm = void (*)(const char*, const char*, const Integer*, const Integer*, const Integer*, const T*, const T*,
                      const Integer*, const T*, const Integer*, const T*, T*, const Integer*);
template <typename T>
using Gemv = void (*)(const char*, const Integer*, const Integer*, const T*, const T*, const Integer*, const T*,
                      const Integer*, const T*, T*, const Integer*);
using Text = const char* (*)();
using SetThreads = void (*)(int);

template <typename F>
F symbol(const std::string& name) {
  return reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name.c_str()));
}

// The file that a function was loaded from; empty when there is no such function.
std::string file_of(const char* name) {
  void* address = dlsym(RTLD_DEFAULT, name);
  Dl_info info;
  return address != nullptr && dladdr(address, &info) != 0 ? info.dli_fname : "";
}

// The same values in every run, from -1 to 1.
template <typename T>
std::vector<T> values(size_t count) {
  static uint64_t state = 1;
  std::vector<T> result(count);
  for (T& value : result) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<T>(static_cast<double>(state >> 33) / (uint64_t(1) << 30) - 1);
  }
  return result;
}

struct Shape {
  Integer m, n, k;
};

// Single rows and columns, sizes around the kernels' tiles, and one size that several threads share.
constexpr Shape kShapes[] = {{1, 1, 1},    {1, 7, 5},    {5, 1, 17},    {2, 3, 1},      {8, 8, 8},       {16, 4, 33},
                             {31, 33, 29}, {64, 64, 64}, {65, 127, 96}, {97, 101, 103}, {256, 16, 301}, {193, 161, 257}};
// Fills the space between the columns of every matrix; the product must not change it.
constexpr Integer kPadding = 3;
constexpr double kUntouched = 12345;

struct Scaling {
  double alpha, beta;
};
// With beta = 0 the old values must have no effect.
constexpr Scaling kScalings[] = {{1, 0}, {-0.5, 2}};

template <typename T>
bool close(double got, double wanted, Integer k) {
  return std::abs(got - wanted) <= std::numeric_limits<T>::epsilon() * 4 * static_cast<double>(k + 4);
}

// A column-major matrix with room between its columns.
template <typename T>
struct Matrix {
  Matrix(Integer rows, Integer columns)
      : leading(rows + kPadding), data(values<T>(static_cast<size_t>(leading * columns))) {}
  T at(Integer row, Integer column) const { return data[static_cast<size_t>(row + column * leading)]; }
  Integer leading;
  std::vector<T> data;
};

// op(A)·op(B) by plain loops, column-major.
template <typename T>
std::vector<double> plain_product(const Matrix<T>& a, const Matrix<T>& b, bool turn_a, bool turn_b, const Shape& shape) {
  std::vector<double> product;
  for (Integer j = 0; j < shape.n; ++j)
    for (Integer i = 0; i < shape.m; ++i) {
      double sum = 0;
      for (Integer l = 0; l < shape.k; ++l)
        sum += static_cast<double>(turn_a ? a.at(l, i) : a.at(i, l)) * (turn_b ? b.at(j, l) : b.at(l, j));
      product.push_back(sum);
    }
  return product;
}

template <typename T>
bool product_is_right(Gemm<T> gemm, bool turn_a, bool turn_b, const Shape& shape) {
  const auto& [m, n, k] = shape;
  const Matrix<T> a(turn_a ? k : m, turn_a ? m : k), b(turn_b ? n : k, turn_b ? k : n);
  const std::vector<double> product = plain_product(a, b, turn_a, turn_b, shape);
  for (const auto& scaling : kScalings) {
    const T alpha = static_cast<T>(scaling.alpha), beta = static_cast<T>(scaling.beta);
    const T old = scaling.beta == 0 ? std::numeric_limits<T>::quiet_NaN() : static_cast<T>(0.25);
    Matrix<T> c(m, n);
    for (Integer j = 0; j < n; ++j)
      for (Integer i = 0; i < c.leading; ++i) c.data[i + j * c.leading] = i < m ? old : static_cast<T>(kUntouched);
    gemm(turn_a ? "T" : "N", turn_b ? "T" : "N", &m, &n, &k, &alpha, a.data.data(), &a.leading, b.data.data(),
         &b.leading, &beta, c.data.data(), &c.leading);
    for (Integer j = 0; j < n; ++j) {
      for (Integer i = 0; i < m; ++i) {
        const double wanted = scaling.alpha * product[i + j * m] + (scaling.beta == 0 ? 0 : scaling.beta * 0.25);
        if (!close<T>(c.at(i, j), wanted, k)) return false;
      }
      for (Integer i = m; i < c.leading; ++i)
        if (c.at(i, j) != static_cast<T>(kUntouched)) return false;
    }
  }
  return true;
}

template <typename T>
bool vector_product_is_right(Gemv<T> gemv, bool turn, const Shape& shape) {
  const Integer rows = shape.m, columns = shape.k, one = 1;
  const Matrix<T> a(rows, columns);
  const Integer inner = turn ? rows : columns, outer = turn ? columns : rows;
  const std::vector<T> x = values<T>(inner);
  std::vector<T> y(outer, static_cast<T>(0.25));
  const T alpha = 1, beta = 2;
  gemv(turn ? "T" : "N", &rows, &columns, &alpha, a.data.data(), &a.leading, x.data(), &one, &beta, y.data(), &one);
  for (Integer i = 0; i < outer; ++i) {
    double wanted = 0.5;
    for (Integer l = 0; l < inner; ++l) wanted += static_cast<double>(turn ? a.at(l, i) : a.at(i, l)) * x[l];
    if (!close<T>(y[i], wanted, inner)) return false;
  }
  return true;
}

// The first wrong result, e.g. `sgemm TN 5×1×17`; empty when all are correct.
template <typename T>
std::string first_wrong(const std::string& letter) {
  const auto gemm = symbol<Gemm<T>>(letter + "gemm_");
  const auto gemv = symbol<Gemv<T>>(letter + "gemv_");
  if (gemm == nullptr || gemv == nullptr) return letter + "gemm and " + letter + "gemv are not there";
  for (const auto& shape : kShapes) {
    const std::string size =
        std::to_string(shape.m) + "×" + std::to_string(shape.n) + "×" + std::to_string(shape.k);
    for (const bool turn_a : {false, true})
      for (const bool turn_b : {false, true})
        if (!product_is_right<T>(gemm, turn_a, turn_b, shape))
          return letter + "gemm " + (turn_a ? "T" : "N") + (turn_b ? "T " : "N ") + size;
    for (const bool turn : {false, true})
      if (!vector_product_is_right<T>(gemv, turn, shape)) return letter + "gemv " + (turn ? "T " : "N ") + size;
  }
  return "";
}

// GFLOP/s of the fastest of several float products on one thread; other load on the machine can only slow a product
// down.
double rate() {
  const auto gemm = symbol<Gemm<float>>("sgemm_");
  if (const auto set_threads = symbol<SetThreads>("openblas_set_num_threads")) set_threads(1);
  const Integer n = 512;
  const std::vector<float> a = values<float>(n * n), b = values<float>(n * n);
  std::vector<float> c(n * n);
  const float alpha = 1, beta = 0;
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < 5 || Clock::now() - start < std::chrono::milliseconds(100); ++run) {
    const auto before = Clock::now();
    gemm("N", "N", &n, &n, &n, &alpha, a.data(), &n, b.data(), &n, &beta, c.data(), &n);
    best = std::min(best, std::chrono::duration<double>(Clock::now() - before).count());
  }
  return 2.0 * n * n * n / best / 1e9;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char each : text) {
    if (each == '"' || each == '\\') result += '\\';
    if (static_cast<unsigned char>(each) >= 0x20) result += each;
  }
  return result + '"';
}

// A hang ends with SIGALRM. A crash ends with its own signal, with other handlers removed and without a core file.
void limit_this_process(unsigned seconds) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  for (const int each : {SIGALRM, SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) signal(each, SIG_DFL);
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  sigprocmask(SIG_UNBLOCK, &alarms, nullptr);
  alarm(seconds);
}

} // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: blas-probe <library> <seconds> [kernels]\n");
    return 2;
  }
  if (count > 3) setenv("OPENBLAS_CORETYPE", arguments[3], /*overwrite=*/1);
  else unsetenv("OPENBLAS_CORETYPE");
  limit_this_process(static_cast<unsigned>(std::atoi(arguments[2])));
  if (dlopen(arguments[1], RTLD_LAZY | RTLD_GLOBAL) == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  const auto core = symbol<Text>("openblas_get_corename");
  const auto config = symbol<Text>("openblas_get_config");
  std::string files;
  for (const char* name : {"sgemm_", "openblas_get_corename"}) {
    const std::string file = file_of(name);
    if (!file.empty()) files += (files.empty() ? "" : ",") + quoted(file);
  }
  std::string line = "{\"files\":[" + files + "]";
  if (core != nullptr && config != nullptr) {
    std::string wrong = first_wrong<float>("s");
    if (wrong.empty()) wrong = first_wrong<double>("d");
    line += ",\"config\":" + quoted(config()) + ",\"core\":" + quoted(core());
    if (!wrong.empty()) line += ",\"wrong\":" + quoted(wrong);
    line += ",\"gflops\":" + std::to_string(rate());
  }
  std::printf("%s}\n", line.c_str());
  std::fflush(stdout);
  _exit(0); // skips the exit functions of the loaded libraries
}

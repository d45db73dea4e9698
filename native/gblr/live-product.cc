// gblr::live_product computes y = x Wᵀ + b in training from the live blocks of a GBLR matrix W, and
// gblr::live_product_backward its gradients, without W and its gradient. With V (B, n_in) and U (B, n_out) the masked
// factors of B live blocks, z = x Vᵀ and y = z U. Gradients are dz = dy Uᵀ, dx = dz V, dV = dzᵀ x and dU = zᵀ dy. Each
// product is one matrix product for each group of a plan (live-plan.h), on views of the operands.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "../compat.h"
#include "gaudi-mask.h"
#include "live-plan.h"

namespace gblr {

namespace {

constexpr int64_t kRowGrain = 8; // minimum rows of the factors per thread
// One product for all blocks is faster than products of groups that cover more than this share of it.
constexpr double kWhole = 0.8;

at::Tensor floats(const at::Tensor& tensor) { return tensor.to(at::kFloat).contiguous(); }

// The factors (K · rank, n) and the windows of one side.
struct Side {
  at::Tensor factors;
  std::vector<Window> windows;
  DoubledTable edges;
  int64_t n, rank;
  bool is_boxcar;

  const Window& window(int64_t row) const { return windows[row / rank]; }
};

Side side_of(const at::Tensor& factors, const at::Tensor& widths, const at::Tensor& locations, const at::Tensor& edges,
             bool is_boxcar) {
  const int64_t count = widths.size(0), n = edges.size(0);
  Side side{factors.reshape({-1, n}), {}, DoubledTable(edges), n, factors.size(0) * factors.size(1) / count, is_boxcar};
  const at::Tensor w = floats(widths), l = floats(locations);
  for (int64_t k = 0; k < count; ++k)
    side.windows.push_back(rounded_window(w.data_ptr<float>()[k], l.data_ptr<float>()[k], n, false));
  return side;
}

at::Tensor part(const at::Tensor& matrix, const Samples& columns) {
  return matrix.narrow(1, columns.first, columns.last - columns.first);
}

at::Tensor rows_of(const at::Tensor& matrix, const Group& group) {
  return matrix.narrow(0, group.first, group.last - group.first);
}

at::Tensor columns_of(const at::Tensor& matrix, const Group& group) {
  return part(matrix, {group.first, group.last});
}

// For each place of an order, its group.
std::vector<const Group*> groups_of(const BlockOrder& order) {
  std::vector<const Group*> groups(order.rows.size());
  for (const Group& group : order.groups)
    for (int64_t at = group.first; at < group.last; ++at) groups[at] = &group;
  return groups;
}

// Masked factors (B, n) in an order. Only what the groups cover is set.
at::Tensor masked(const Side& side, const BlockOrder& order) {
  const int64_t count = static_cast<int64_t>(order.rows.size()), n = side.n;
  at::Tensor result = at::empty({count, n}, side.factors.options());
  const std::vector<const Group*> groups = groups_of(order);
  const float* factors = side.factors.data_ptr<float>();
  float* out = result.data_ptr<float>();
  at::parallel_for(0, count, kRowGrain, [&](int64_t begin, int64_t end) {
    std::vector<float> mask(n);
    for (int64_t at = begin; at < end; ++at) {
      fill_mask(side.window(order.rows[at]), side.edges, side.is_boxcar, mask.data());
      const float* own = factors + order.rows[at] * n;
      for (const Samples& samples : parts_of(groups[at]->arc, n))
        for (int64_t j = samples.first; j < samples.last; ++j) out[at * n + j] = mask[j] * own[j];
    }
  });
  return result;
}

// x Mᵀ (rows, B), for x (rows, n) and M (B, n)
at::Tensor times_transposed(const at::Tensor& x, const at::Tensor& matrix, const BlockOrder& order) {
  at::Tensor result = at::empty({x.size(0), matrix.size(0)}, x.options());
  for (const Group& group : order.groups) {
    at::Tensor columns = columns_of(result, group);
    const at::Tensor rows = rows_of(matrix, group);
    bool is_first = true;
    for (const Samples& samples : parts_of(group.arc, x.size(1))) {
      const at::Tensor left = part(x, samples), right = part(rows, samples).t();
      if (is_first) at::mm_out(columns, left, right);
      else columns.addmm_(left, right);
      is_first = false;
    }
  }
  return result;
}

// z M + bias (rows, n), for z (rows, B) and M (B, n). A group that covers all samples sets the result, unless there is a
// bias, and the others are added.
at::Tensor times(const at::Tensor& z, const at::Tensor& matrix, const BlockOrder& order,
                 const Optional<at::Tensor>& bias) {
  const int64_t n = matrix.size(1);
  at::Tensor y = at::empty({z.size(0), n}, z.options());
  const auto end = order.groups.end();
  const auto setting = bias ? end : std::find_if(order.groups.begin(), end, [&](const Group& group) {
    return group.arc.length == n;
  });
  if (setting != end) at::mm_out(y, columns_of(z, *setting), rows_of(matrix, *setting));
  else if (bias) y.copy_(bias->to(at::kFloat).expand(y.sizes()));
  else y.zero_();
  for (auto group = order.groups.begin(); group != end; ++group) {
    if (group == setting) continue;
    for (const Samples& samples : parts_of(group->arc, n))
      part(y, samples).addmm_(columns_of(z, *group), part(rows_of(matrix, *group), samples));
  }
  return y;
}

// zᵀ x (B, n) at the arcs of the groups widened by a margin. The rest may not be set.
at::Tensor sampled(const at::Tensor& z, const at::Tensor& x, const BlockOrder& order, int64_t margin) {
  const int64_t n = x.size(1);
  int64_t covered = 0;
  for (const Group& group : order.groups) covered += (group.last - group.first) * widened(group.arc, margin, n).length;
  const bool is_whole = static_cast<double>(covered) > kWhole * static_cast<double>(z.size(1) * n);
  if (is_whole) return z.t().mm(x);
  at::Tensor result = at::empty({z.size(1), n}, x.options());
  for (const Group& group : order.groups)
    for (const Samples& samples : parts_of(widened(group.arc, margin, n), n)) {
      at::Tensor to = part(rows_of(result, group), samples);
      at::mm_out(to, columns_of(z, group).t(), part(x, samples));
    }
  return result;
}

// The columns of z (rows, B) in another order of the same blocks.
at::Tensor reordered(const at::Tensor& z, const BlockOrder& from, const BlockOrder& to) {
  if (from.rows == to.rows) return z;
  std::vector<int64_t> place(from.rows.empty() ? 0 : *std::max_element(from.rows.begin(), from.rows.end()) + 1, -1);
  for (size_t at = 0; at < from.rows.size(); ++at) place[from.rows[at]] = static_cast<int64_t>(at);
  at::Tensor index = at::empty({static_cast<int64_t>(to.rows.size())}, at::kLong);
  for (size_t at = 0; at < to.rows.size(); ++at) {
    const int64_t row = to.rows[at];
    TORCH_CHECK(row < static_cast<int64_t>(place.size()) && place[row] >= 0, "the orders of the plan differ");
    index.data_ptr<int64_t>()[at] = place[row];
  }
  return z.index_select(1, index);
}

// Gradients of a side: of the factors (K · rank, n), and of widths and locations, by row.
struct SideGradients {
  at::Tensor factors;
  std::vector<float> widths, locations;
};

// Adds what follows from the gradients (B, n) of masked factors. Those of places are sums over wider arcs.
void add_gradients(const Side& side, const BlockOrder& order, const at::Tensor& of_masked, const DoubledTable& slopes,
                   int64_t margin, SideGradients& to) {
  const int64_t n = side.n;
  const std::vector<const Group*> groups = groups_of(order);
  const float *factors = side.factors.data_ptr<float>(), *outer = of_masked.data_ptr<float>();
  float* out = to.factors.numel() > 0 ? to.factors.data_ptr<float>() : nullptr;
  const bool has_places = !to.widths.empty();
  at::parallel_for(0, static_cast<int64_t>(order.rows.size()), kRowGrain, [&](int64_t begin, int64_t end) {
    std::vector<float> mask(n);
    for (int64_t at = begin; at < end; ++at) {
      const int64_t row = order.rows[at];
      const Arc& arc = groups[at]->arc;
      const float *own = factors + row * n, *dy = outer + at * n;
      if (out != nullptr) {
        fill_mask(side.window(row), side.edges, side.is_boxcar, mask.data());
        for (const Samples& samples : parts_of(arc, n))
          for (int64_t j = samples.first; j < samples.last; ++j) out[row * n + j] = mask[j] * dy[j];
      }
      if (!has_places) continue;
      for (const Samples& samples : parts_of(widened(arc, margin, n), n)) {
        for (int64_t j = samples.first; j < samples.last; ++j) mask[j] = own[j] * dy[j];
        const PlaceSums sums = place_sums(mask.data(), side.window(row), slopes, samples);
        to.widths[row] += sums.width;
        to.locations[row] += sums.location;
      }
    }
  });
}

// The operands of both directions.
struct Operands {
  const at::Tensor &x, &input, &output, &widths, &locations, &edges_in, &edges_out;
};

void check(const Operands& o) {
  TORCH_CHECK(o.input.dim() == 3 && o.output.dim() == 3 && o.input.size(0) == o.output.size(0) &&
                  o.input.size(1) == o.output.size(2) && o.input.size(0) >= 1,
              "factors must be (K, rank, n_in) and (K, n_out, rank), got ", o.input.sizes(), " and ", o.output.sizes());
  TORCH_CHECK(o.widths.dim() == 2 && o.widths.size(0) == 2 && o.widths.size(1) == o.input.size(0) &&
                  o.locations.sizes() == o.widths.sizes(),
              "widths and locations must both be (2, K), got ", o.widths.sizes(), " and ", o.locations.sizes());
  TORCH_CHECK(o.edges_in.dim() == 1 && o.edges_in.size(0) == o.input.size(2) && o.edges_out.dim() == 1 &&
                  o.edges_out.size(0) == o.output.size(1),
              "tables must be (n_in) and (n_out), got ", o.edges_in.sizes(), " and ", o.edges_out.sizes());
  TORCH_CHECK(o.x.dim() >= 1 && o.x.size(-1) == o.input.size(2), "x must be (..., n_in), got ", o.x.sizes());
}

// Both sides of the matrix.
struct Sides {
  Side in, out;
};

Sides sides_of(const Operands& o, bool is_boxcar) {
  // (K, n_out, rank) becomes (K, rank, n_out), which for rank 1 is the same in memory.
  return {side_of(floats(o.input), o.widths.select(0, 0), o.locations.select(0, 0), floats(o.edges_in), is_boxcar),
          side_of(floats(o.output.transpose(1, 2)), o.widths.select(0, 1), o.locations.select(0, 1),
                  floats(o.edges_out), is_boxcar)};
}

std::vector<int64_t> with_last(const at::Tensor& x, int64_t size) {
  auto sizes = x.sizes().vec();
  sizes.back() = size;
  return sizes;
}

std::tuple<at::Tensor, at::Tensor> live_product(const at::Tensor& x, const at::Tensor& input, const at::Tensor& output,
                                                const at::Tensor& widths, const at::Tensor& locations,
                                                const at::Tensor& edges_in, const at::Tensor& edges_out,
                                                const Optional<at::Tensor>& bias, const at::Tensor& plan,
                                                bool is_boxcar) {
  const Operands operands{x, input, output, widths, locations, edges_in, edges_out};
  check(operands);
  const Sides sides = sides_of(operands, is_boxcar);
  const int64_t n_in = sides.in.n, n_out = sides.out.n;
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == n_out), "bias must be (", n_out, ")");
  const auto [in, out] = plan_of(plan, sides.in.factors.size(0), n_in, n_out).live;
  const at::Tensor rows = floats(x).view({-1, n_in});
  const at::Tensor z = times_transposed(rows, masked(sides.in, in), in);
  const at::Tensor y = times(reordered(z, in, out), masked(sides.out, out), out, bias);
  return {y.view(with_last(x, n_out)), z};
}

// Which gradients are computed. The others are empty.
struct Needs {
  bool x, factors, places;
};

SideGradients empty_gradients(const Side& side, const Needs& needs) {
  const size_t rows = needs.places ? side.factors.size(0) : 0;
  const at::Tensor factors =
      needs.factors ? at::zeros_like(side.factors) : at::empty({0}, side.factors.options());
  return {factors, std::vector<float>(rows), std::vector<float>(rows)};
}

// Gradients of the widths on one side of blocks whose mask of that side is 0. `near` is x or dy of the other side, `far`
// that of this side.
void add_dead(const Side& other, const BlockOrder& of_other, const at::Tensor& near, const Side& dead,
              const BlockOrder& of_dead, const at::Tensor& far, const DoubledTable& slopes, SideGradients& to) {
  if (of_dead.rows.empty()) return;
  const at::Tensor z = reordered(times_transposed(near, masked(other, of_other), of_other), of_other, of_dead);
  // The factor's own gradient is 0.
  SideGradients places{at::empty({0}, z.options()), std::move(to.widths), std::move(to.locations)};
  add_gradients(dead, of_dead, sampled(z, far, of_dead, 0), slopes, 0, places);
  to.widths = std::move(places.widths);
  to.locations = std::move(places.locations);
}

// Sums over the ranks of a block: (2, K), row 0 for the input side.
at::Tensor by_block(const std::vector<float>& in, const std::vector<float>& out, int64_t rank,
                    const at::TensorOptions& options) {
  if (in.empty()) return at::empty({0}, options);
  const int64_t count = static_cast<int64_t>(in.size()) / rank;
  at::Tensor sums = at::zeros({2, count}, options);
  float* sum = sums.data_ptr<float>();
  for (int64_t row = 0; row < count * rank; ++row) {
    sum[row / rank] += in[row];
    sum[count + row / rank] += out[row];
  }
  return sums;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> live_product_backward(
    const at::Tensor& dy, const at::Tensor& x, const at::Tensor& z, const at::Tensor& input, const at::Tensor& output,
    const at::Tensor& widths, const at::Tensor& locations, const at::Tensor& edges_in, const at::Tensor& edges_out,
    const at::Tensor& slopes_in, const at::Tensor& slopes_out, const at::Tensor& plan, bool is_boxcar,
    at::IntArrayRef more_margins, bool x_needed, bool factors_needed, bool places_needed) {
  const Operands operands{x, input, output, widths, locations, edges_in, edges_out};
  check(operands);
  TORCH_CHECK(more_margins.size() == 2, "there must be margins for two sides");
  TORCH_CHECK(slopes_in.sizes() == edges_in.sizes() && slopes_out.sizes() == edges_out.sizes(),
              "slopes must be as long as edges");
  const Needs needs{x_needed, factors_needed, places_needed};
  const Sides sides = sides_of(operands, is_boxcar);
  const int64_t n_in = sides.in.n, n_out = sides.out.n;
  const Plan plans = plan_of(plan, sides.in.factors.size(0), n_in, n_out);
  const auto& [in, out] = plans.live;
  const at::Tensor rows = floats(x).view({-1, n_in}), outer = floats(dy).view({-1, n_out}), inner = floats(z);
  TORCH_CHECK(outer.size(0) == rows.size(0) && inner.dim() == 2 && inner.size(0) == rows.size(0) &&
                  inner.size(1) == static_cast<int64_t>(in.rows.size()),
              "dy and z must have ", rows.size(0), " rows, got ", dy.sizes(), " and ", z.sizes());
  const at::Tensor dz_out = times_transposed(outer, masked(sides.out, out), out);
  const at::Tensor dz = reordered(dz_out, out, in);
  at::Tensor dx = at::empty({0}, rows.options());
  if (needs.x) dx = times(dz, masked(sides.in, in), in, {}).view(x.sizes());
  SideGradients to_in = empty_gradients(sides.in, needs), to_out = empty_gradients(sides.out, needs);
  if (needs.factors || needs.places) {
    const DoubledTable slopes[2] = {DoubledTable(floats(slopes_in)), DoubledTable(floats(slopes_out))};
    const int64_t more_in = needs.places ? more_margins[0] : 0, more_out = needs.places ? more_margins[1] : 0;
    add_gradients(sides.in, in, sampled(dz, rows, in, more_in), slopes[0], more_in, to_in);
    add_gradients(sides.out, out, sampled(reordered(inner, in, out), outer, out, more_out), slopes[1], more_out,
                  to_out);
    if (needs.places) {
      const auto &out_dead = plans.out_dead, &in_dead = plans.in_dead;
      add_dead(sides.in, out_dead.in, rows, sides.out, out_dead.out, outer, slopes[1], to_out);
      add_dead(sides.out, in_dead.out, outer, sides.in, in_dead.in, rows, slopes[0], to_in);
    }
  }
  const int64_t rank = sides.in.rank;
  if (needs.factors) {
    to_in.factors = to_in.factors.view(input.sizes());
    to_out.factors = to_out.factors.view({output.size(0), rank, n_out}).transpose(1, 2).contiguous();
  }
  return {dx, to_in.factors, to_out.factors, by_block(to_in.widths, to_out.widths, rank, rows.options()),
          by_block(to_in.locations, to_out.locations, rank, rows.options())};
}

} // namespace

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def(
      "live_product(Tensor x, Tensor input, Tensor output, Tensor widths, Tensor locations, Tensor edges_in, "
      "Tensor edges_out, Tensor? bias, Tensor plan, bool boxcar) -> (Tensor, Tensor)");
  m.def(
      "live_product_backward(Tensor dy, Tensor x, Tensor z, Tensor input, Tensor output, Tensor widths, "
      "Tensor locations, Tensor edges_in, Tensor edges_out, Tensor slopes_in, Tensor slopes_out, Tensor plan, "
      "bool boxcar, int[] more_margins, bool x, bool factors, bool places) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) {
  m.impl("live_product", live_product);
  m.impl("live_product_backward", live_product_backward);
}

} // namespace gblr

// gblr::live_plan decides whether training multiplies by the live blocks of a GBLR matrix or by the dense matrix, and
// plans the former. The result depends on its operands only, so that a run that was resumed has the same numbers as one
// that was not. It takes less than a millisecond and is made anew for each product, since blocks move.
#include "live-plan.h"

#include <ATen/Functions.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace gblr {

namespace {

// Groups begin at multiples of so many blocks.
constexpr int64_t kUnit = 8;
// A product with m blocks and n samples takes about as long as (m + kThin)(n + kThin) multiply-adds per row.
constexpr double kThin = 24;
// Putting one value into another order takes about as long as so many multiply-adds.
constexpr double kMove = 64;

int64_t modulo(int64_t value, int64_t n) { return ((value % n) + n) % n; }

Arc whole(int64_t n) { return {0, n}; }

// The shorter one of the arcs from the start of one to the end of the other.
Arc covering(const Arc& a, const Arc& b, int64_t n) {
  const int64_t from_a = std::max(a.length, modulo(b.start - a.start, n) + b.length);
  const int64_t from_b = std::max(b.length, modulo(a.start - b.start, n) + a.length);
  const Arc arc = from_a <= from_b ? Arc{a.start, from_a} : Arc{b.start, from_b};
  return arc.length >= n ? whole(n) : arc;
}

// The arcs of all rows of the factors on a side.
struct Arcs {
  std::vector<Arc> of;
  int64_t n;
};

// Rows in groups, and how long a product takes per row of x, in multiply-adds.
struct Grouping {
  std::vector<Group> groups;
  double cost;
};

double cost_of(int64_t blocks, int64_t samples) {
  return (static_cast<double>(blocks) + kThin) * (static_cast<double>(samples) + kThin);
}

// The groups of least cost of rows in this order, by dynamic programming over their last boundary.
Grouping grouped(const std::vector<int64_t>& rows, const Arcs& arcs) {
  const int64_t count = static_cast<int64_t>(rows.size()), units = (count + kUnit - 1) / kUnit;
  std::vector<Arc> unit(units);
  for (int64_t i = 0; i < count; ++i) {
    const Arc& own = arcs.of[rows[i]];
    unit[i / kUnit] = i % kUnit == 0 ? own : covering(unit[i / kUnit], own, arcs.n);
  }
  struct Best {
    double cost;
    int64_t from;
    Arc arc;
  };
  std::vector<Best> best(units + 1, {std::numeric_limits<double>::infinity(), 0, {0, 0}});
  best[0].cost = 0;
  for (int64_t first = 0; first < units; ++first) {
    Arc arc = unit[first];
    for (int64_t last = first; last < units; ++last) {
      arc = covering(arc, unit[last], arcs.n);
      const int64_t blocks = std::min(count, (last + 1) * kUnit) - first * kUnit;
      const double cost = best[first].cost + cost_of(blocks, arc.length);
      if (cost < best[last + 1].cost) best[last + 1] = {cost, first, arc};
    }
  }
  Grouping found{{}, best[units].cost};
  for (int64_t at = units; at > 0; at = best[at].from)
    found.groups.push_back({best[at].from * kUnit, std::min(count, at * kUnit), best[at].arc});
  std::reverse(found.groups.begin(), found.groups.end());
  return found;
}

// Rows as they are, and by the starts, the ends and the lengths of their arcs on a side.
void add_orders(const std::vector<int64_t>& rows, const Arcs& arcs, std::vector<std::vector<int64_t>>& orders) {
  const auto add = [&](auto key) {
    orders.push_back(rows);
    std::stable_sort(orders.back().begin(), orders.back().end(),
                     [&](int64_t a, int64_t b) { return key(arcs.of[a]) < key(arcs.of[b]); });
  };
  add([](const Arc& arc) { return std::make_pair(arc.start, arc.length); });
  add([](const Arc& arc) { return std::make_pair(arc.start + arc.length, arc.start); });
  add([](const Arc& arc) { return std::make_pair(arc.length, arc.start); });
}

struct Planned {
  BlockSet set;
  double in, out; // multiply-adds per row of x
};

// The best order for both sides, or the best order of each side if that is worth the moves.
Planned planned(const std::vector<int64_t>& rows, const Arcs& in, const Arcs& out) {
  if (rows.empty()) return {};
  std::vector<std::vector<int64_t>> orders{rows};
  add_orders(rows, in, orders);
  add_orders(rows, out, orders);
  std::vector<Grouping> of_in, of_out;
  size_t both = 0, best_in = 0, best_out = 0;
  for (size_t i = 0; i < orders.size(); ++i) {
    of_in.push_back(grouped(orders[i], in));
    of_out.push_back(grouped(orders[i], out));
    if (of_in[i].cost + of_out[i].cost < of_in[both].cost + of_out[both].cost) both = i;
    if (of_in[i].cost < of_in[best_in].cost) best_in = i;
    if (of_out[i].cost < of_out[best_out].cost) best_out = i;
  }
  const double moves = kMove * static_cast<double>(rows.size());
  const bool apart = of_in[best_in].cost + of_out[best_out].cost + moves < of_in[both].cost + of_out[both].cost;
  if (!apart) best_in = best_out = both;
  return {{{orders[best_in], of_in[best_in].groups}, {orders[best_out], of_out[best_out].groups}},
          of_in[best_in].cost,
          of_out[best_out].cost + (apart ? moves : 0)};
}

struct Side {
  int64_t n, mask_margin, slope_margin;
  Arcs arcs;
  std::vector<char> filled; // whether the mask is other than 0
};

Side side_of(const at::Tensor& widths, const at::Tensor& locations, int64_t rank, int64_t n, int64_t mask_margin,
             int64_t slope_margin) {
  const int64_t count = widths.size(0);
  Side side{n, mask_margin, slope_margin, {std::vector<Arc>(count * rank), n}, std::vector<char>(count * rank)};
  const float *width = widths.data_ptr<float>(), *location = locations.data_ptr<float>();
  for (int64_t k = 0; k < count; ++k) {
    const Window window = rounded_window(width[k], location[k], n, false);
    const bool fits = window.width >= 0 && window.width < 1;
    const Arc span = fits ? Arc{window.start, window.samples} : whole(n);
    for (int64_t row = k * rank; row < (k + 1) * rank; ++row) {
      side.filled[row] = window.width != 0;
      side.arcs.of[row] = widened(span, side.filled[row] ? mask_margin : slope_margin, n);
    }
  }
  return side;
}

// Cost of the gradients of one factor, for which arcs also cover the derivatives of masks.
double gradient_cost(const BlockOrder& order, const Side& side) {
  const int64_t more = std::max<int64_t>(0, side.slope_margin - side.mask_margin);
  double cost = 0;
  for (const Group& group : order.groups)
    cost += cost_of(group.last - group.first, widened(group.arc, more, side.n).length);
  return std::min(cost, cost_of(static_cast<int64_t>(order.rows.size()), side.n));
}

at::Tensor live_plan(const at::Tensor& widths, const at::Tensor& locations, int64_t rank, int64_t n_in, int64_t n_out,
                     int64_t rows, at::IntArrayRef mask_margins, at::IntArrayRef slope_margins) {
  TORCH_CHECK(widths.dim() == 2 && widths.size(0) == 2 && locations.sizes() == widths.sizes(),
              "widths and locations must both be (2, K), got ", widths.sizes(), " and ", locations.sizes());
  TORCH_CHECK(mask_margins.size() == 2 && slope_margins.size() == 2, "there must be margins for two sides");
  const at::Tensor w = widths.to(at::kFloat).contiguous(), l = locations.to(at::kFloat).contiguous();
  const Side in = side_of(w.select(0, 0), l.select(0, 0), rank, n_in, mask_margins[0], slope_margins[0]);
  const Side out = side_of(w.select(0, 1), l.select(0, 1), rank, n_out, mask_margins[1], slope_margins[1]);
  std::vector<int64_t> live, out_dead, in_dead;
  for (int64_t row = 0; row < static_cast<int64_t>(in.filled.size()); ++row) {
    if (in.filled[row] && out.filled[row]) live.push_back(row);
    if (in.filled[row] && !out.filled[row]) out_dead.push_back(row);
    if (!in.filled[row] && out.filled[row]) in_dead.push_back(row);
  }
  const Planned of_live = planned(live, in.arcs, out.arcs);
  const Planned of_out = planned(out_dead, in.arcs, out.arcs), of_in = planned(in_dead, in.arcs, out.arcs);
  const double products = 2 * (of_live.in + of_live.out) + of_out.in + of_out.out + of_in.in + of_in.out;
  const double gradients = gradient_cost(of_live.set.in, in) + gradient_cost(of_live.set.out, out);
  // The dense way makes the matrix once, and two products with its gradient.
  const double making = static_cast<double>(3 * live.size() + out_dead.size() + in_dead.size()) / rows;
  const double dense = 3 * cost_of(n_in, n_out) + making * n_in * n_out;
  if (products + gradients >= dense) return at::empty({0}, at::kInt);
  return tensor_of({of_live.set, of_out.set, of_in.set});
}

void append(const BlockOrder& order, std::vector<int32_t>& values) {
  values.push_back(static_cast<int32_t>(order.groups.size()));
  for (const int64_t row : order.rows) values.push_back(static_cast<int32_t>(row));
  for (const Group& group : order.groups)
    for (const int64_t value : {group.first, group.last, group.arc.start, group.arc.length})
      values.push_back(static_cast<int32_t>(value));
}

// Reads a plan, number by number.
struct Reader {
  const int32_t* values;
  int64_t count;
  int64_t at = 0;

  int64_t next(int64_t least, int64_t most) {
    TORCH_CHECK(at < count, "the plan ends too early");
    const int64_t value = values[at++];
    TORCH_CHECK(value >= least && value <= most, "the plan has ", value, " at ", at - 1, ", expected ", least, " to ",
                most);
    return value;
  }

  BlockOrder order(int64_t blocks, int64_t rows, int64_t n) {
    BlockOrder order;
    const int64_t groups = next(blocks > 0, blocks);
    for (int64_t i = 0; i < blocks; ++i) order.rows.push_back(next(0, rows - 1));
    for (int64_t i = 0, first = 0; i < groups; ++i) {
      const int64_t from = next(first, first), last = next(first + 1, blocks);
      const int64_t start = next(0, n - 1), length = next(0, n);
      order.groups.push_back({from, last, {start, length}});
      first = last;
    }
    TORCH_CHECK(blocks == 0 || order.groups.back().last == blocks, "the groups of the plan lack blocks");
    return order;
  }
};

} // namespace

Arc widened(const Arc& arc, int64_t margin, int64_t n) {
  if (arc.length + 2 * margin >= n) return whole(n);
  return {modulo(arc.start - margin, n), arc.length + 2 * margin};
}

std::vector<Samples> parts_of(const Arc& arc, int64_t n) {
  const int64_t straight = std::min(arc.length, n - arc.start);
  if (straight == arc.length) return {{arc.start, arc.start + arc.length}};
  return {{arc.start, n}, {0, arc.length - straight}};
}

at::Tensor tensor_of(const Plan& plan) {
  std::vector<int32_t> values;
  for (const BlockSet* set : {&plan.live, &plan.out_dead, &plan.in_dead}) {
    values.push_back(static_cast<int32_t>(set->in.rows.size()));
    append(set->in, values);
    append(set->out, values);
  }
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kInt);
  std::copy(values.begin(), values.end(), tensor.data_ptr<int32_t>());
  return tensor;
}

Plan plan_of(const at::Tensor& tensor, int64_t rows, int64_t n_in, int64_t n_out) {
  TORCH_CHECK(tensor.dim() == 1 && tensor.scalar_type() == at::kInt, "a plan must be int32 (values)");
  const at::Tensor values = tensor.contiguous();
  Reader reader{values.data_ptr<int32_t>(), values.numel()};
  Plan plan;
  for (BlockSet* set : {&plan.live, &plan.out_dead, &plan.in_dead}) {
    const int64_t blocks = reader.next(0, rows);
    set->in = reader.order(blocks, rows, n_in);
    set->out = reader.order(blocks, rows, n_out);
  }
  TORCH_CHECK(reader.at == reader.count, "the plan has ", reader.count - reader.at, " values too many");
  return plan;
}

TORCH_LIBRARY_FRAGMENT(gblr, m) {
  m.def(
      "live_plan(Tensor widths, Tensor locations, int rank, int n_in, int n_out, int rows, int[] mask_margins, "
      "int[] slope_margins) -> Tensor");
}

TORCH_LIBRARY_IMPL(gblr, CPU, m) { m.impl("live_plan", live_plan); }

} // namespace gblr

// What do the operands of an instruction mean? Names, numbers and addresses become places of rows.
#include "ptx/coder.h"

namespace cuda_on_cpu {
namespace {

const std::unordered_map<std::string_view, Special> &special_names() {
  using enum Special;
  static const std::unordered_map<std::string_view, Special> names = {
      {"%tid.x", tid_x},
      {"%tid.y", tid_y},
      {"%tid.z", tid_z},
      {"%ntid.x", ntid_x},
      {"%ntid.y", ntid_y},
      {"%ntid.z", ntid_z},
      {"%ctaid.x", ctaid_x},
      {"%ctaid.y", ctaid_y},
      {"%ctaid.z", ctaid_z},
      {"%nctaid.x", nctaid_x},
      {"%nctaid.y", nctaid_y},
      {"%nctaid.z", nctaid_z},
      {"%laneid", laneid},
      {"%warpid", warpid},
      {"%nwarpid", nwarpid},
      {"%smid", smid},
      {"%nsmid", nsmid},
      {"%gridid", gridid},
      {"%lanemask_eq", lanemask_eq},
      {"%lanemask_le", lanemask_le},
      {"%lanemask_lt", lanemask_lt},
      {"%lanemask_ge", lanemask_ge},
      {"%lanemask_gt", lanemask_gt},
      {"%clusterid.x", clusterid_x},
      {"%clusterid.y", clusterid_y},
      {"%clusterid.z", clusterid_z},
      {"%nclusterid.x", nclusterid_x},
      {"%nclusterid.y", nclusterid_y},
      {"%nclusterid.z", nclusterid_z},
      {"%cluster_ctaid.x", cluster_ctaid_x},
      {"%cluster_ctaid.y", cluster_ctaid_y},
      {"%cluster_ctaid.z", cluster_ctaid_z},
      {"%cluster_nctaid.x", cluster_nctaid_x},
      {"%cluster_nctaid.y", cluster_nctaid_y},
      {"%cluster_nctaid.z", cluster_nctaid_z},
      {"%cluster_ctarank", cluster_ctarank},
      {"%cluster_nctarank", cluster_nctarank},
      {"%is_explicit_cluster", is_explicit_cluster},
      {"%dynamic_smem_size", dynamic_smem_size},
      {"%total_smem_size", total_smem_size},
  };
  return names;
}

}  // namespace

uint32_t Coder::label_of(const Operand &o) {
  const Binding *b = find(o.name);
  if (o.kind != Operand::Kind::name || !b || b->kind != Binding::Kind::label)
    refuse("'" + std::string(o.name) + "' is not a label");
  return b->label;
}

uint32_t Coder::constant(uint64_t value, uint32_t bytes) {
  if (bytes < 8) value &= (uint64_t{1} << (8 * bytes)) - 1;
  auto [found, is_new] = constants_.try_emplace({value, bytes}, 0);
  if (is_new) {
    found->second = static_cast<uint32_t>(program_.constants.size());
    program_.constants.resize(program_.constants.size() + 32 * bytes);
    for (uint32_t l = 0; l < 32; l++) memcpy(&program_.constants[found->second + l * bytes], &value, bytes);
  }
  return found->second;
}

uint64_t Coder::value_of(const Operand &o, uint32_t bytes) const {
  if (o.kind == Operand::Kind::f64 && bytes == 4) {
    double d;
    memcpy(&d, &o.value, 8);
    float f = static_cast<float>(d);
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
  }
  if (o.kind == Operand::Kind::f32 && bytes == 8) {
    float f;
    memcpy(&f, &o.value, 4);
    double d = f;
    uint64_t bits;
    memcpy(&bits, &d, 8);
    return bits;
  }
  return static_cast<uint64_t>(o.value);
}

bool Coder::special(std::string_view name, uint32_t bytes, Row &into) {
  if (name == "WARP_SZ") {
    into = {constant(32, bytes), bytes};
    return true;
  }
  if (read_clock(*this, name, into)) return true;
  auto found = special_names().find(name);
  if (found == special_names().end()) return false;
  auto [place, is_new] = specials_.try_emplace({found->second, bytes}, 0);
  if (is_new) {
    place->second = row(32 * bytes);
    program_.specials.push_back({found->second, place->second, bytes});
  }
  into = {place->second, bytes};
  return true;
}

bool Coder::is_register(const Operand &o) const {
  const Binding *b = o.kind == Operand::Kind::name ? const_cast<Coder *>(this)->find(o.name) : nullptr;
  return b && b->kind == Binding::Kind::reg;
}

Row Coder::source_row(const Operand &o, uint32_t otherwise) {
  switch (o.kind) {
    case Operand::Kind::integer:
    case Operand::Kind::f32:
    case Operand::Kind::f64:
      return {constant(value_of(o, otherwise), otherwise), otherwise};
    case Operand::Kind::name:
      break;
    default:
      refuse("an operand of " + std::string(statement_->name) + " is of a wrong kind");
  }
  const Binding *b = find(o.name);
  if (!b) {
    Row r{0, 0};
    if (special(o.name, otherwise, r)) return r;
    refuse("'" + std::string(o.name) + "' is not declared");
  }
  switch (b->kind) {
    case Binding::Kind::reg:
      if (b->row.place == kNone) refuse("vector registers and those of 128 bits are not supported");
      return b->row;
    case Binding::Kind::shared:
    case Binding::Kind::global:
      return {constant(b->address + static_cast<uint64_t>(o.value), otherwise), otherwise};
    case Binding::Kind::local:
      return {constant((b->is_argument ? kLocalWindow : 0) + b->address + static_cast<uint64_t>(o.value), otherwise),
              otherwise};
    case Binding::Kind::parameter:
      return {constant(kParameterWindow + b->address + static_cast<uint64_t>(o.value), otherwise), otherwise};
    default:
      refuse("'" + std::string(o.name) + "' is not a value");
  }
}

uint32_t Coder::source(const Operand &o, uint32_t bytes) {
  Row r = source_row(o, bytes);
  if (r.is_predicate || r.bytes != bytes)
    refuse("'" + std::string(o.name) + "' does not have the " + std::to_string(8 * bytes) + " bits that " +
           std::string(statement_->name) + " takes");
  return r.place;
}

Row Coder::dest_row(const Operand &o) {
  if (o.kind == Operand::Kind::sink) return {temporary(8), 8};
  const Binding *b = o.kind == Operand::Kind::name ? find(o.name) : nullptr;
  if (!b || b->kind != Binding::Kind::reg) refuse("'" + std::string(o.name) + "' is not a register");
  if (b->row.place == kNone) refuse("vector registers and those of 128 bits are not supported");
  return b->row;
}

uint32_t Coder::dest(const Operand &o, uint32_t bytes) {
  Row r = dest_row(o);
  if (o.kind != Operand::Kind::sink && (r.is_predicate || r.bytes != bytes)) {
    refuse("'" + std::string(o.name) + "' does not have the " + std::to_string(8 * bytes) + " bits of " +
           std::string(statement_->name));
  }
  return r.place;
}

uint32_t Coder::predicate_dest(const Operand &o) {
  Row r = dest_row(o);
  if (o.kind != Operand::Kind::sink && !r.is_predicate) refuse("'" + std::string(o.name) + "' is not a predicate");
  return r.place;
}

uint32_t Coder::predicate(const Operand &o) {
  if (o.kind == Operand::Kind::integer) {
    uint32_t t = constant(o.value ? UINT64_MAX : 0, 4);
    return t;
  }
  Row r = source_row(o, 4);
  if (!r.is_predicate) refuse("'" + std::string(o.name) + "' is not a predicate");
  if (!o.negated) return r.place;
  uint32_t t = row(4);
  Inst i;
  i.handler = [](Warp &w, const Inst &n, uint32_t) {
    w.predicate(n.d) = ~w.predicate(n.a);
    return Flow::next;
  };
  i.line = statement_->line;
  i.d = t;
  i.a = r.place;
  push(i);
  return t;
}

std::vector<Row> Coder::rows(const Operand &o, bool is_source, uint32_t otherwise) {
  std::vector<Row> list;
  auto one = [&](const Operand &item) {
    Row r = is_source ? source_row(item, otherwise) : dest_row(item);
    if (item.kind == Operand::Kind::sink) r.bytes = otherwise;
    if (r.is_predicate) refuse("a predicate cannot be an element of a vector");
    list.push_back(r);
  };
  if (o.kind == Operand::Kind::vector) {
    for (const Operand &item : o.items) one(item);
  } else {
    one(o);
  }
  return list;
}

const uint32_t *Coder::list(const std::vector<Row> &rows) {
  std::vector<uint32_t> places;
  for (const Row &r : rows) places.push_back(r.place);
  program_.lists.push_back(places);
  return program_.lists.back().data();
}

void Coder::address(const Operand &o, Inst &i, Space &space, bool *is_narrow) {
  if (is_narrow) *is_narrow = false;
  if (o.kind != Operand::Kind::address) refuse("an address in brackets is expected");
  i.imm = o.value;
  i.a = constant(0, 8);
  if (o.name.empty()) return;
  const Binding *b = find(o.name);
  if (!b) refuse("'" + std::string(o.name) + "' is not declared");
  switch (b->kind) {
    case Binding::Kind::reg:
      if (b->row.bytes == 8 && !b->row.is_predicate) {
        i.a = b->row.place;
      } else if (b->row.bytes == 4 && !b->row.is_predicate && is_narrow && space == Space::shared) {
        i.a = b->row.place;
        *is_narrow = true;
      } else if (b->row.bytes == 4 && !b->row.is_predicate) {
        i.a = temporary(8);
        Inst widen = make([](Warp &w, const Inst &n, uint32_t lanes) {
          uint64_t *d = w.row<uint64_t>(n.d);
          const uint32_t *a = w.row<uint32_t>(n.a);
          each_lane(lanes, [&](uint32_t l) { d[l] = a[l]; });
          return Flow::next;
        });
        widen.d = i.a;
        widen.a = b->row.place;
        push(widen);
      } else {
        refuse("'" + std::string(o.name) + "' cannot be an address");
      }
      if (space == Space::parameter) space = Space::generic;
      return;
    case Binding::Kind::local:
      i.imm += static_cast<int64_t>(b->address);
      if (space == Space::generic) i.imm += static_cast<int64_t>(kLocalWindow);
      if (space == Space::parameter) space = Space::local;
      return;
    case Binding::Kind::parameter:
      i.imm += static_cast<int64_t>(b->address);
      if (space == Space::generic) i.imm += static_cast<int64_t>(kParameterWindow);
      return;
    case Binding::Kind::shared:
      i.imm += static_cast<int64_t>(b->address);
      if (space == Space::generic) i.imm += static_cast<int64_t>(kSharedWindow);
      return;
    case Binding::Kind::global:
      i.imm += static_cast<int64_t>(b->address);
      return;
    default:
      refuse("'" + std::string(o.name) + "' cannot be an address");
  }
}

}  // namespace cuda_on_cpu

#include "ptx/coder.h"

#include <algorithm>

namespace cuda_on_cpu {
namespace {

constexpr uint32_t kRowAlignment = 64;
constexpr uint32_t kMostInstructions = 4'000'000;

uint64_t aligned(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

uint32_t bytes_of(const Variable &v) { return bytes_of_type(v.type.substr(1)) * v.vector; }
uint32_t alignment_of(const Variable &v) { return v.alignment != 0 ? v.alignment : bytes_of(v); }

}  // namespace

Coder::Coder(const Surroundings &surroundings, const Function &kernel, uint32_t constant_bytes,
             uint32_t static_shared_bytes)
    : surroundings_(surroundings), kernel_(kernel), static_shared_bytes_(static_shared_bytes) {
  program_.name = kernel.name;
  program_.register_bytes = constant_bytes;
}

Program Coder::code() {
  scopes_.emplace_back();
  base_ = 0;
  uint64_t at = 0;
  for (const Variable &v : kernel_.parameters) {
    uint64_t bytes = bytes_of(v) * (v.is_array ? v.elements : 1);
    at = aligned(at, alignment_of(v));
    parameters_.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(bytes), alignment_of(v)});
    Binding b;
    b.kind = Binding::Kind::parameter;
    b.address = at;
    scopes_.back().names[v.name] = b;
    at += bytes;
  }
  program_.parameter_bytes = static_cast<uint32_t>(at);
  labels_.push_back(kNone);
  ends_.push_back(0);
  calls_.push_back(&kernel_);
  body(kernel_);
  labels_[0] = static_cast<uint32_t>(program_.code.size());
  Inst end;
  end.handler = leave;
  end.line = kernel_.line;
  push(end);
  for (Inst &i : program_.code) {
    if (i.handler == branch) i.target = labels_[i.target];
  }
  for (std::vector<uint32_t> *list : label_lists_) {
    for (uint32_t &l : *list) l = labels_[l];
  }
  program_.dynamic_shared_at = static_cast<uint32_t>(aligned(program_.shared_bytes, 128));
  return std::move(program_);
}

void Coder::body(const Function &f) {
  open(f.body, 0);
  for (size_t i = 0; i < f.body.size(); i++) {
    const Statement &s = f.body[i];
    statement_ = &s;
    switch (s.kind) {
      case Statement::Kind::open:
        open(f.body, i + 1);
        break;
      case Statement::Kind::close:
        scopes_.pop_back();
        break;
      case Statement::Kind::label:
        labels_[find(s.name)->label] = static_cast<uint32_t>(program_.code.size());
        break;
      case Statement::Kind::variable:
        declare(s.variable);
        break;
      case Statement::Kind::targets:
        break;
      case Statement::Kind::instruction:
        instruction(s);
        break;
    }
  }
  scopes_.pop_back();
}

// Labels are known in the whole of their block, so they are declared at its beginning.
void Coder::open(const std::vector<Statement> &body, size_t from) {
  scopes_.emplace_back();
  int depth = 0;
  auto each = [&](Statement::Kind kind, auto f) {
    depth = 0;
    for (size_t i = from; i < body.size() && depth >= 0; i++) {
      if (body[i].kind == Statement::Kind::open) depth++;
      if (body[i].kind == Statement::Kind::close) depth--;
      if (depth == 0 && body[i].kind == kind) f(body[i]);
    }
  };
  each(Statement::Kind::label, [&](const Statement &s) {
    Binding b;
    b.kind = Binding::Kind::label;
    b.label = static_cast<uint32_t>(labels_.size());
    labels_.push_back(kNone);
    if (!scopes_.back().names.emplace(s.name, b).second)
      throw TextError(s.line, "the label " + std::string(s.name) + " is there twice");
  });
  each(Statement::Kind::targets, [&](const Statement &s) {
    Binding b;
    b.kind = Binding::Kind::targets;
    statement_ = &s;
    for (const Operand &o : s.operands) b.labels.push_back(label_of(o));
    scopes_.back().names[s.name] = b;
  });
}

uint32_t Coder::row(uint32_t bytes) {
  uint32_t place = program_.register_bytes;
  program_.register_bytes += static_cast<uint32_t>(aligned(bytes, kRowAlignment));
  return place;
}

uint32_t Coder::carry() {
  if (carry_ == kNone) carry_ = row(4);
  return carry_;
}

uint32_t Coder::temporary(uint32_t bytes) { return row(32 * bytes); }

void Coder::declare(const Variable &v) {
  auto &names = scopes_.back().names;
  Binding b;
  if (v.space == ".reg") {
    std::string_view type = v.type.substr(1);
    bool is_predicate = type == "pred";
    uint32_t bytes = std::max(2u, bytes_of_type(type));
    // Vector registers and 128-bit ones get no row; whoever uses one is refused.
    bool has_row = v.vector == 1 && bytes <= 8;
    auto one = [&](std::string_view name) {
      Binding r;
      r.row = {has_row ? row(is_predicate ? 4 : 32 * bytes) : kNone, has_row ? bytes : 0, is_predicate};
      names[name] = r;
    };
    if (v.count == 0) return one(v.name);
    // The text has the prefix only.
    for (uint32_t n = 0; n < v.count; n++) one(names_.emplace_back(std::string(v.name) + std::to_string(n)));
    return;
  }
  uint64_t bytes = bytes_of(v) * (v.is_array ? v.elements : 1);
  if (v.space == ".shared") {
    b = shared_variable(v);
  } else if (v.space == ".local" || v.space == ".param") {
    b.kind = Binding::Kind::local;
    b.is_argument = v.space == ".param";
    b.address = aligned(program_.local_bytes, std::max(8u, alignment_of(v)));
    program_.local_bytes = static_cast<uint32_t>(b.address + bytes);
  } else {
    refuse("the variable " + std::string(v.name) + " of space " + std::string(v.space) +
           " within a function is not supported");
  }
  names[v.name] = b;
}

Binding Coder::shared_variable(const Variable &v) {
  Binding b;
  b.kind = Binding::Kind::shared;
  if (v.is_extern || (v.is_array && v.elements == 0)) {
    b.address = aligned(static_shared_bytes_, 128);
    return b;
  }
  b.address = aligned(program_.shared_bytes, alignment_of(v));
  program_.shared_bytes = static_cast<uint32_t>(b.address + bytes_of(v) * (v.is_array ? v.elements : 1));
  return b;
}

const Binding *Coder::find(std::string_view name) {
  for (size_t i = scopes_.size(); i-- > base_;) {
    auto found = scopes_[i].names.find(name);
    if (found != scopes_[i].names.end()) return &found->second;
  }
  auto shared = module_shared_.find(name);
  if (shared != module_shared_.end()) return &shared->second;
  for (const Variable &v : surroundings_.text->variables) {
    if (v.name == name && v.space == ".shared") return &(module_shared_[name] = shared_variable(v));
  }
  auto global = surroundings_.addresses.find(name);
  if (global != surroundings_.addresses.end()) {
    Binding b;
    b.kind = Binding::Kind::global;
    b.address = global->second;
    return &(module_shared_[name] = b);
  }
  return nullptr;
}

void Coder::refuse(const std::string &what) const {
  throw TextError(statement_ ? statement_->line : kernel_.line, what);
}

void Coder::want(size_t least, size_t most) const {
  if (operands() < least || operands() > most) {
    refuse(std::string(statement_->name) + " has " + std::to_string(operands()) + " operands, and takes " +
           std::to_string(least) + (most > least ? " to " + std::to_string(most) : ""));
  }
}

Inst Coder::make(Handler handler) const {
  Inst i;
  i.handler = handler;
  i.line = statement_->line;
  if (!statement_->guard.empty()) {
    const Binding *b = const_cast<Coder *>(this)->find(statement_->guard);
    if (!b || b->kind != Binding::Kind::reg || !b->row.is_predicate)
      refuse("the guard " + std::string(statement_->guard) + " is no predicate");
    i.guard = b->row.place;
    i.guard_flip = statement_->guard_negated ? UINT32_MAX : 0;
  }
  return i;
}

void Coder::instruction(const Statement &s) {
  if (program_.code.size() > kMostInstructions) refuse("the kernel is too long, its calls taken apart");
  if (s.parts[0] == "call") return call(s);
  if (control()) return;
  for (auto select :
       {select_memory, select_integer, select_float, select_move, select_compare, select_bits, select_convert,
        select_warp, select_barrier, select_atomic, select_half, select_asynchronous, select_tensor}) {
    if (select(*this)) return;
  }
  unknown();
}

bool Coder::control() {
  std::string_view op = statement_->parts[0];
  if (op == "bra") {
    want(1, 1);
    Inst i = make(branch);
    i.target = label_of(operand(0));
    push(i);
  } else if (op == "brx") {
    want(2, 2);
    const Binding *b = find(operand(1).name);
    if (!b || b->kind != Binding::Kind::targets) refuse("the targets of brx are not declared");
    Inst i = make(branch_by_table);
    i.a = source(0, 4);
    program_.lists.push_back(b->labels);
    label_lists_.push_back(&program_.lists.back());
    i.list = program_.lists.back().data();
    i.count = static_cast<uint32_t>(program_.lists.back().size());
    push(i);
  } else if (op == "ret" && calls_.size() > 1) {
    Inst i = make(branch);
    i.target = ends_.back();
    push(i);
  } else if (op == "ret" || op == "exit") {
    push(make(leave));
  } else {
    return false;
  }
  return true;
}

void Coder::call(const Statement &s) {
  auto found = surroundings_.functions.find(s.operands[0].name);
  std::string name(s.operands[0].name);
  if (found == surroundings_.functions.end())
    refuse("the function " + name + " is not declared, or the call is an indirect one: not supported");
  const Function &f = *found->second;
  if (!f.has_body) {
    // What a kernel prints is of no use here; its result is the number of characters.
    if (name == "vprintf") return;
    if (name == "__assertfail") {
      Inst i = make(
          [](Warp &w, const Inst &at, uint32_t) { return w.fail(Ended::assertion, at, "an assertion of the kernel"); });
      return push(i);
    }
    refuse("the function " + name + " has no body here: not supported");
  }
  if (std::find(calls_.begin(), calls_.end(), &f) != calls_.end())
    refuse("the function " + name + " calls itself: not supported");
  if (f.parameters.size() != s.arguments.size() || f.results.size() != s.results.size())
    refuse("the function " + name + " takes other arguments");
  Inst over = make(branch);
  Scope scope;
  // The callee's parameters are the caller's variables themselves.
  auto bind = [&](const Variable &v, const Operand &o) {
    const Binding *b = find(o.name);
    if (o.kind != Operand::Kind::name || !b ||
        (b->kind != Binding::Kind::local && b->kind != Binding::Kind::parameter)) {
      refuse("an argument of " + name + " is not a .param variable: not supported");
    }
    scope.names[v.name] = *b;
  };
  for (size_t k = 0; k < f.parameters.size(); k++) bind(f.parameters[k], s.arguments[k]);
  for (size_t k = 0; k < f.results.size(); k++) bind(f.results[k], s.results[k]);
  uint32_t end = static_cast<uint32_t>(labels_.size());
  labels_.push_back(kNone);
  if (over.guard != kNone) {
    over.guard_flip = ~over.guard_flip;
    over.target = end;
    push(over);
  }
  size_t base = base_;
  base_ = scopes_.size();
  scopes_.push_back(std::move(scope));
  ends_.push_back(end);
  calls_.push_back(&f);
  body(f);
  calls_.pop_back();
  ends_.pop_back();
  scopes_.pop_back();
  base_ = base;
  statement_ = &s;
  labels_[end] = static_cast<uint32_t>(program_.code.size());
}

}  // namespace cuda_on_cpu

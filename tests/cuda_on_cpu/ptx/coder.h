// How does the text of a kernel become a program? Names become places; calls are taken apart into the callee's
// instructions.
//
// The select_* functions turn one instruction into handlers; each knows one family, and says false to what is not its
// own.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ptx/program.h"
#include "ptx/text.h"
#include "ptx/warp.h"

namespace cuda_on_cpu {

struct Row {
  uint32_t place, bytes;
  bool is_predicate = false;
};

struct Binding {
  enum class Kind { reg, shared, local, parameter, global, label, targets };
  Kind kind = Kind::reg;
  Row row{0, 0};
  uint64_t address = 0;      // in its space
  bool is_argument = false;  // a .param variable of a function, which lies in local memory
  uint32_t label = 0;
  std::vector<uint32_t> labels;
};

// Where the variables of the module lie, and its functions: what all its kernels share.
struct Surroundings {
  const ModuleText *text = nullptr;
  std::unordered_map<std::string_view, uint64_t> addresses;  // of .global and .const
  std::unordered_map<std::string_view, const Function *> functions;
};

class Coder {
 public:
  // `constant_bytes` and `static_shared_bytes` are what an earlier pass found out; 0 for that pass.
  Coder(const Surroundings &surroundings, const Function &kernel, uint32_t constant_bytes,
        uint32_t static_shared_bytes);
  Program code();

  uint32_t constant_bytes() const { return static_cast<uint32_t>(program_.constants.size()); }
  uint32_t static_shared_bytes() const { return program_.shared_bytes; }
  // Where the parameters of the kernel lie.
  const std::vector<Parameter> &parameters() const { return parameters_; }

  // For select_*: the present statement.
  const Statement &statement() const { return *statement_; }
  size_t operands() const { return statement_->operands.size(); }
  std::string_view type() const { return statement_->parts.back(); }
  void want(size_t least, size_t most) const;
  const Operand &operand(size_t k) const { return statement_->operands[k]; }
  // The place of operand k, a register of exactly these bytes.
  uint32_t dest(size_t k, uint32_t bytes) { return dest(operand(k), bytes); }
  uint32_t dest(const Operand &, uint32_t bytes);
  // The same for a register of any width.
  Row dest_row(const Operand &);
  // The place of operand k: a register of these bytes, a constant, a special register, the address of a variable.
  uint32_t source(size_t k, uint32_t bytes) { return source(operand(k), bytes); }
  uint32_t source(const Operand &, uint32_t bytes);
  // The same for whatever is as wide as it is; constants are `otherwise` bytes wide.
  Row source_row(const Operand &, uint32_t otherwise);
  uint32_t predicate(const Operand &);  // a source; `!p` takes an instruction more
  uint32_t predicate_dest(const Operand &);
  // Places of the elements of a vector, or of the one register.
  std::vector<Row> rows(const Operand &, bool is_source, uint32_t otherwise);
  const uint32_t *list(const std::vector<Row> &);
  bool is_register(const Operand &) const;
  uint32_t constant(uint64_t value, uint32_t bytes);
  uint32_t temporary(uint32_t bytes);
  uint32_t carry();  // the predicate that .cc writes
  // Sets `space` to what the address means, a to the row of its base (8 bytes) or kNone, imm to what is added.
  // With `is_narrow`, a base of 4 bytes may be left as it is where the space is shared.
  void address(const Operand &, Inst &, Space &space, bool *is_narrow = nullptr);
  Inst make(Handler) const;
  void push(const Inst &i) { program_.code.push_back(i); }
  [[noreturn]] void refuse(const std::string &what) const;
  [[noreturn]] void unknown() const {
    refuse("the instruction " + std::string(statement_->name) + " is not supported");
  }
  uint32_t label_of(const Operand &);
  const Binding *find(std::string_view name);
  uint32_t parameter_bytes() const { return program_.parameter_bytes; }

 private:
  struct Scope {
    std::unordered_map<std::string_view, Binding> names;
  };
  void body(const Function &);
  void open(const std::vector<Statement> &, size_t from);
  void declare(const Variable &);
  void instruction(const Statement &);
  void call(const Statement &);
  Binding shared_variable(const Variable &);
  uint32_t row(uint32_t bytes);
  bool special(std::string_view name, uint32_t bytes, Row &);
  bool control();
  uint64_t value_of(const Operand &, uint32_t bytes) const;

  const Surroundings &surroundings_;
  const Function &kernel_;
  uint32_t static_shared_bytes_;
  Program program_;
  const Statement *statement_ = nullptr;
  std::vector<Scope> scopes_;
  size_t base_ = 0;  // the first scope of the function that is being read
  std::map<std::pair<uint64_t, uint32_t>, uint32_t> constants_;
  std::map<std::pair<Special, uint32_t>, uint32_t> specials_;
  std::unordered_map<std::string_view, Binding> module_shared_;
  std::deque<std::string> names_;  // those of `%r<5>`
  std::vector<uint32_t> labels_;   // where they are in the code
  std::vector<std::vector<uint32_t> *> label_lists_;
  std::vector<uint32_t> ends_;  // the labels that `ret` goes to
  std::vector<const Function *> calls_;
  std::vector<Parameter> parameters_;
  uint32_t carry_ = kNone;
};

bool select_integer(Coder &);
bool select_bits(Coder &);
bool select_compare(Coder &);
bool select_float(Coder &);
bool select_half(Coder &);
bool select_convert(Coder &);
bool select_move(Coder &);
bool select_memory(Coder &);
bool select_atomic(Coder &);
bool select_warp(Coder &);
bool select_barrier(Coder &);
bool select_asynchronous(Coder &);
bool select_tensor(Coder &);

// `%clock` and its like, which are read when they are asked for: an instruction more. False for any other name.
bool read_clock(Coder &, std::string_view name, Row &);

// The handlers of control flow.
Flow branch(Warp &, const Inst &, uint32_t lanes);
Flow leave(Warp &, const Inst &, uint32_t lanes);
Flow branch_by_table(Warp &, const Inst &, uint32_t lanes);

}  // namespace cuda_on_cpu

// How is PTX written? Words, statements and declarations of a module, before anything is known about what they mean.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cuda_on_cpu {

// What stands against a text, with its line. parse() turns it into its error.
struct TextError : std::runtime_error {
  TextError(uint32_t line, const std::string &what)
      : std::runtime_error("line " + std::to_string(line) + ": " + what) {}
};

struct Operand {
  enum class Kind { name, integer, f32, f64, address, vector, sink };
  Kind kind = Kind::integer;
  std::string_view name;       // of a register, variable or label; of an address's base, empty if it has none
  std::string_view second;     // of a pair: `p|q`
  bool negated = false;        // `!p`
  int64_t value = 0;           // an integer, the bits of a floating-point number, or what is added to a name
  std::vector<Operand> items;  // of a vector
};

struct Variable {
  std::string_view space;  // ".reg", ".global" ...
  std::string_view type;   // ".b32" ...
  std::string_view name;
  uint32_t line = 0;
  uint32_t vector = 1;     // 2 or 4 for .v2, .v4
  uint32_t alignment = 0;  // 0: that of the type
  uint32_t count = 0;      // of `%r<5>`; 0: a single name
  uint64_t elements = 1;   // of an array; 0 for `[]`
  bool is_array = false, is_extern = false;
  std::vector<Operand> values;  // the initialiser, flat
};

struct Statement {
  enum class Kind { instruction, label, variable, open, close, targets };
  Kind kind = Kind::instruction;
  uint32_t line = 0;
  std::string_view name;                // the whole opcode, or a label
  std::vector<std::string_view> parts;  // "ld", "global", "u32"
  std::string_view guard;
  bool guard_negated = false;
  std::vector<Operand> operands;
  std::vector<Operand> results, arguments;  // of a call
  Variable variable;

  // Is this one of the parts behind the opcode?
  bool has(std::string_view part) const {
    for (size_t i = 1; i < parts.size(); i++) {
      if (parts[i] == part) return true;
    }
    return false;
  }
};

struct Function {
  std::string_view name;
  uint32_t line = 0;
  bool is_kernel = false, has_body = false;
  std::vector<Variable> results, parameters;
  std::vector<Statement> body;
  uint32_t max_threads = 1024;
  uint32_t cluster[3] = {0, 0, 0};
};

// Its views point into the text that it was read from.
struct ModuleText {
  uint32_t version = 0;  // 85 is 8.5
  std::vector<Variable> variables;
  std::vector<Function> functions;
};

// Throws TextError. Checks the version only against `newest_version`.
ModuleText read_module(std::string_view text, uint32_t newest_version);

// "f32" -> 4; 0 for what is no type. ".pred" counts as 4.
uint32_t bytes_of_type(std::string_view type);

}  // namespace cuda_on_cpu

#include "ptx/text.h"

#include "ptx/words.h"

namespace cuda_on_cpu {
namespace {

int64_t bits_of(double value) {
  int64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

class Reader {
 public:
  Reader(std::string_view text, uint32_t newest) : words_(text), newest_(newest) {}

  ModuleText read() {
    if (!words_.is(".version")) words_.fail("PTX begins with .version");
    while (!words_.at_end()) item();
    return std::move(module_);
  }

 private:
  void item() {
    uint32_t line = words_.peek().line;
    if (words_.take_if(".version")) return version();
    if (words_.is(".target") || words_.is(".file") || words_.is(".loc")) return words_.skip_line(line);
    if (words_.take_if(".address_size")) {
      if (!words_.take_if("64")) words_.fail(".address_size must be 64");
      return;
    }
    if (words_.take_if(".section")) return section();
    if (words_.take_if(".pragma")) return past(";");
    bool is_extern = false;
    while (words_.is(".visible") || words_.is(".extern") || words_.is(".weak") || words_.is(".common")) {
      is_extern |= words_.take().text == ".extern";
    }
    if (words_.is(".entry") || words_.is(".func")) {
      module_.functions.push_back(function());
    } else if (words_.is(".global") || words_.is(".const") || words_.is(".shared")) {
      declaration(is_extern, [&](Variable v) { module_.variables.push_back(std::move(v)); });
    } else {
      words_.fail("'" + std::string(words_.peek().text) + "' is not known outside functions");
    }
  }

  void version() {
    Word word = words_.take();
    size_t dot = word.text.find('.');
    if (word.kind != Word::Kind::number || dot == std::string_view::npos)
      throw TextError(word.line, ".version is followed by a number such as 8.5");
    module_.version = static_cast<uint32_t>(atoi(std::string(word.text.substr(0, dot)).c_str()) * 10 +
                                            atoi(std::string(word.text.substr(dot + 1)).c_str()));
    if (module_.version > newest_) {
      throw TextError(word.line, "version " + std::string(word.text) + " is newer than " +
                                     std::to_string(newest_ / 10) + "." + std::to_string(newest_ % 10) +
                                     ", the newest that this driver takes");
    }
  }

  void past(std::string_view sign) {
    while (!words_.at_end() && !words_.take_if(sign)) words_.take();
  }

  void section() {
    words_.name();
    words_.expect("{");
    for (int depth = 1; depth > 0;) {
      if (words_.at_end()) words_.fail("a section that does not end");
      std::string_view text = words_.take().text;
      depth += text == "{" ? 1 : text == "}" ? -1 : 0;
    }
  }

  Function function() {
    Function f;
    f.line = words_.peek().line;
    f.is_kernel = words_.take().text == ".entry";
    if (!f.is_kernel && words_.is("(")) f.results = parameters();
    f.name = words_.name();
    if (words_.is("(")) f.parameters = parameters();
    while (!words_.is("{") && !words_.is(";")) directive(f);
    if (words_.take_if(";")) return f;
    words_.expect("{");
    f.has_body = true;
    for (int depth = 1; depth > 0;) {
      if (words_.at_end()) words_.fail("a function that does not end");
      statement(f.body, depth);
    }
    return f;
  }

  void directive(Function &f) {
    Word word = words_.take();
    auto numbers = [&](uint32_t *into) {
      for (int i = 0; i < 3; i++) {
        into[i] = static_cast<uint32_t>(expression(0));
        if (!words_.take_if(",")) {
          for (i++; i < 3; i++) into[i] = 1;
        }
      }
    };
    uint32_t three[3];
    if (word.text == ".maxntid" || word.text == ".reqntid") {
      numbers(three);
      f.max_threads = three[0] * three[1] * three[2];
    } else if (word.text == ".reqnctapercluster") {
      numbers(f.cluster);
    } else if (word.text == ".minnctapersm" || word.text == ".maxnreg" || word.text == ".maxclusterrank" ||
               word.text == ".maxnctapersm") {
      expression(0);
    } else if (word.text == ".pragma") {
      past(";");
    } else if (word.text != ".noreturn" && word.text != ".explicitcluster") {
      throw TextError(word.line, "'" + std::string(word.text) + "' is not known here");
    }
  }

  std::vector<Variable> parameters() {
    std::vector<Variable> list;
    words_.expect("(");
    while (!words_.take_if(")")) {
      if (!list.empty()) words_.expect(",");
      Variable v = kind_of_variable();
      if (v.space != ".param") words_.fail("only .param is supported among parameters");
      name_of_variable(v);
      list.push_back(v);
    }
    return list;
  }

  // `.global .align 4 .b8`: all that stands in front of the name.
  Variable kind_of_variable() {
    Variable v;
    v.line = words_.peek().line;
    v.space = words_.name();
    for (;;) {
      std::string_view text = words_.peek().text;
      if (words_.peek().kind != Word::Kind::name || text[0] != '.') break;
      words_.take();
      if (text == ".align")
        v.alignment = static_cast<uint32_t>(expression(0));
      else if (text == ".v2" || text == ".v4")
        v.vector = static_cast<uint32_t>(text[2] - '0');
      else if (text == ".attribute")
        past(")");
      else if (bytes_of_type(text.substr(1)) > 0)
        v.type = text;
      else if (text != ".ptr" && text != ".global" && text != ".shared" && text != ".const" && text != ".local") {
        words_.fail("'" + std::string(text) + "' is not known in a declaration");
      }
    }
    if (v.type.empty()) words_.fail("a type is missing");
    return v;
  }

  void name_of_variable(Variable &v) {
    v.name = words_.name();
    if (words_.take_if("<")) {
      v.count = static_cast<uint32_t>(expression(0));
      words_.expect(">");
    }
    while (words_.take_if("[")) {
      v.is_array = true;
      if (words_.take_if("]")) {
        v.elements = 0;
        continue;
      }
      v.elements *= static_cast<uint64_t>(expression(0));
      words_.expect("]");
    }
    if (words_.take_if("=")) values(v);
  }

  void values(Variable &v) {
    if (words_.take_if("{")) {
      while (!words_.take_if("}")) {
        values(v);
        words_.take_if(",");
      }
    } else {
      v.values.push_back(operand());
    }
  }

  template <class Each>
  void declaration(bool is_extern, Each each) {
    Variable kind = kind_of_variable();
    kind.is_extern = is_extern;
    do {
      Variable v = kind;
      name_of_variable(v);
      each(std::move(v));
    } while (words_.take_if(","));
    words_.expect(";");
  }

  void statement(std::vector<Statement> &body, int &depth) {
    Statement s;
    const Word word = words_.peek();
    s.line = word.line;
    if (words_.take_if("{")) {
      depth++;
      s.kind = Statement::Kind::open;
      body.push_back(std::move(s));
    } else if (words_.take_if("}")) {
      s.kind = Statement::Kind::close;
      if (--depth > 0) body.push_back(std::move(s));
    } else if (words_.take_if(";")) {
      return;
    } else if (word.text == ".loc" || word.text == ".file") {
      words_.skip_line(word.line);
    } else if (word.text == ".pragma") {
      past(";");
    } else if (word.text == ".reg" || word.text == ".local" || word.text == ".shared" || word.text == ".param" ||
               word.text == ".global" || word.text == ".const") {
      declaration(false, [&](Variable v) {
        Statement d;
        d.kind = Statement::Kind::variable;
        d.line = word.line;
        d.variable = std::move(v);
        body.push_back(std::move(d));
      });
    } else if (word.text == "@") {
      words_.take();
      s.guard_negated = words_.take_if("!");
      s.guard = words_.name();
      s.name = words_.name();
      instruction(s);
      body.push_back(std::move(s));
    } else if (word.kind == Word::Kind::name && word.text[0] != '.') {
      s.name = words_.name();
      if (words_.take_if(":")) {
        if (words_.take_if(".branchtargets")) {
          s.kind = Statement::Kind::targets;
          do s.operands.push_back(operand());
          while (words_.take_if(","));
          words_.expect(";");
        } else {
          if (words_.is(".calltargets") || words_.is(".callprototype")) words_.fail("indirect calls are not supported");
          s.kind = Statement::Kind::label;
        }
      } else {
        instruction(s);
      }
      body.push_back(std::move(s));
    } else {
      words_.fail("'" + std::string(word.text) + "' begins no statement");
    }
  }

  void instruction(Statement &s) {
    for (size_t begin = 0; begin <= s.name.size();) {
      size_t end = std::min(s.name.find('.', begin), s.name.size());
      s.parts.push_back(s.name.substr(begin, end - begin));
      begin = end + 1;
    }
    if (s.parts[0] == "call") return call(s);
    if (words_.take_if(";")) return;
    do s.operands.push_back(operand());
    while (words_.take_if(","));
    words_.expect(";");
  }

  void call(Statement &s) {
    auto list = [&](std::vector<Operand> &into) {
      words_.expect("(");
      while (!words_.take_if(")")) {
        into.push_back(operand());
        words_.take_if(",");
      }
    };
    if (words_.is("(")) {
      list(s.results);
      words_.expect(",");
    }
    s.operands.push_back(operand());
    if (words_.take_if(",")) {
      if (!words_.is("(")) words_.fail("indirect calls are not supported");
      list(s.arguments);
      if (words_.take_if(",")) words_.fail("indirect calls are not supported");
    }
    words_.expect(";");
  }

  Operand operand() {
    Operand o;
    if (words_.take_if("{")) {
      o.kind = Operand::Kind::vector;
      while (!words_.take_if("}")) {
        o.items.push_back(operand());
        words_.take_if(",");
      }
    } else if (words_.take_if("[")) {
      o = words_.is("]") ? Operand{} : operand();
      if (words_.take_if(",")) words_.fail("addresses with coordinates (tensors, textures) are not supported");
      words_.expect("]");
      o.kind = Operand::Kind::address;
    } else if (words_.take_if("!")) {
      o.kind = Operand::Kind::name;
      o.negated = true;
      o.name = words_.name();
    } else if (words_.peek().kind == Word::Kind::name) {
      o.kind = Operand::Kind::name;
      o.name = words_.name();
      if (o.name == "_") o.kind = Operand::Kind::sink;
      if (o.name == "generic" && words_.take_if("(")) {
        o.name = words_.name();
        words_.expect(")");
      }
      if (words_.take_if("|")) o.second = words_.name();
      while (words_.is("+") || words_.is("-")) {
        bool minus = words_.take().text == "-";
        int64_t v = expression(10);
        o.value += minus ? -v : v;
      }
    } else {
      number(o);
    }
    return o;
  }

  void number(Operand &o) {
    bool minus = false;
    // A floating-point number stands alone; integers may be expressions.
    if (words_.is("-")) {
      words_.take();
      minus = true;
    }
    const Word word = words_.peek();
    std::string text(word.text);
    bool is_hex = text.size() > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    bool is_float =
        word.kind == Word::Kind::number && text.size() == 10 && text[0] == '0' && (text[1] == 'f' || text[1] == 'F');
    bool is_double =
        word.kind == Word::Kind::number && text.size() == 18 && text[0] == '0' && (text[1] == 'd' || text[1] == 'D');
    bool is_decimal = word.kind == Word::Kind::number && !is_hex && text.find_first_of(".eE") != std::string::npos &&
                      !is_float && !is_double;
    if (is_float || is_double || is_decimal) {
      words_.take();
      o.kind = is_float ? Operand::Kind::f32 : Operand::Kind::f64;
      o.value = is_decimal ? bits_of(strtod(text.c_str(), nullptr))
                           : static_cast<int64_t>(strtoull(text.c_str() + 2, nullptr, 16));
      if (minus) o.value ^= is_float ? int64_t{1} << 31 : INT64_MIN;
      return;
    }
    o.kind = Operand::Kind::integer;
    int64_t first = primary();
    o.value = rest_of_expression(minus ? -first : first, 0);
  }

  int64_t primary() {
    if (words_.take_if("-")) return -primary();
    if (words_.take_if("+")) return primary();
    if (words_.take_if("~")) return ~primary();
    if (words_.take_if("!")) return !primary();
    if (words_.take_if("(")) {
      if (words_.take_if(".s64") || words_.take_if(".u64")) {
        words_.expect(")");
        return primary();
      }
      int64_t v = expression(0);
      words_.expect(")");
      return v;
    }
    const Word word = words_.peek();
    if (word.kind != Word::Kind::number)
      words_.fail("a number is expected, and here is '" + std::string(word.text) + "'");
    words_.take();
    std::string text(word.text);
    if (text.back() == 'U' || text.back() == 'u') text.pop_back();
    bool is_binary = text.size() > 1 && text[0] == '0' && (text[1] == 'b' || text[1] == 'B');
    char *end = nullptr;
    uint64_t v = is_binary ? strtoull(text.c_str() + 2, &end, 2) : strtoull(text.c_str(), &end, 0);
    if (*end != '\0') throw TextError(word.line, "'" + text + "' is not a number");
    return static_cast<int64_t>(v);
  }

  static int strength(std::string_view sign) {
    if (sign == "|") return 1;
    if (sign == "^") return 2;
    if (sign == "&") return 3;
    if (sign == "<<" || sign == ">>") return 8;
    if (sign == "+" || sign == "-") return 9;
    if (sign == "*" || sign == "/" || sign == "%") return 10;
    return 0;
  }

  int64_t expression(int least) { return rest_of_expression(primary(), least); }

  int64_t rest_of_expression(int64_t left, int least) {
    for (;;) {
      if (words_.peek().kind != Word::Kind::sign) return left;
      std::string_view sign = words_.peek().text;
      int s = strength(sign);
      if (s == 0 || s < least) return left;
      words_.take();
      int64_t right = expression(s + 1);
      if ((sign == "/" || sign == "%") && right == 0) words_.fail("a division by zero");
      uint64_t l = static_cast<uint64_t>(left), r = static_cast<uint64_t>(right);
      if (sign == "|")
        left = left | right;
      else if (sign == "^")
        left = left ^ right;
      else if (sign == "&")
        left = left & right;
      else if (sign == "<<")
        left = static_cast<int64_t>(l << (r & 63));
      else if (sign == ">>")
        left = left >> (r & 63);
      else if (sign == "+")
        left = static_cast<int64_t>(l + r);
      else if (sign == "-")
        left = static_cast<int64_t>(l - r);
      else if (sign == "*")
        left = static_cast<int64_t>(l * r);
      else if (sign == "/")
        left = left / right;
      else
        left = left % right;
    }
  }

  Words words_;
  uint32_t newest_;
  ModuleText module_;
};

}  // namespace

uint32_t bytes_of_type(std::string_view type) {
  if (type == "pred") return 4;
  if (type == "f16x2" || type == "bf16x2" || type == "tf32" || type == "s16x2" || type == "u16x2") return 4;
  if (type == "bf16") return 2;
  if (type.size() < 2 || (type[0] != 'b' && type[0] != 'u' && type[0] != 's' && type[0] != 'f')) return 0;
  std::string_view bits = type.substr(1);
  return bits == "8" ? 1 : bits == "16" ? 2 : bits == "32" ? 4 : bits == "64" ? 8 : bits == "128" ? 16 : 0;
}

ModuleText read_module(std::string_view text, uint32_t newest_version) { return Reader(text, newest_version).read(); }

}  // namespace cuda_on_cpu

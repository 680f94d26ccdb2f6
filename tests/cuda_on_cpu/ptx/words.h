// What are the words of a PTX text? Names with their dots, numbers, strings and single characters.
#pragma once

#include <cctype>
#include <cstdlib>
#include <cstring>

#include "ptx/text.h"

namespace cuda_on_cpu {

struct Word {
  enum class Kind { name, number, string, sign, end };
  Kind kind = Kind::end;
  std::string_view text;
  uint32_t line = 0;
};

class Words {
 public:
  explicit Words(std::string_view text) : text_(text) { next_ = read(); }

  const Word &peek() const { return next_; }
  Word take() {
    Word word = next_;
    next_ = read();
    return word;
  }
  bool is(std::string_view text) const { return next_.kind != Word::Kind::string && next_.text == text; }
  bool take_if(std::string_view text) {
    if (!is(text)) return false;
    take();
    return true;
  }
  void expect(std::string_view text) {
    if (!take_if(text)) fail("'" + std::string(text) + "' is expected, and here is '" + std::string(next_.text) + "'");
  }
  std::string_view name() {
    if (next_.kind != Word::Kind::name) fail("a name is expected, and here is '" + std::string(next_.text) + "'");
    return take().text;
  }
  bool at_end() const { return next_.kind == Word::Kind::end; }
  [[noreturn]] void fail(const std::string &what) const { throw TextError(next_.line, what); }
  // Past everything that stands on the present line.
  void skip_line(uint32_t line) {
    while (!at_end() && next_.line == line) take();
  }

 private:
  static bool starts_name(char c) {
    return isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.';
  }
  static bool goes_on(char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '.'; }
  char at(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

  void skip_space() {
    for (;;) {
      char c = at(at_);
      if (c == '\n')
        line_++, at_++;
      else if (c == ' ' || c == '\t' || c == '\r' || c == '\f')
        at_++;
      else if (c == '/' && at(at_ + 1) == '/')
        while (at_ < text_.size() && text_[at_] != '\n') at_++;
      else if (c == '/' && at(at_ + 1) == '*') {
        uint32_t begun = line_;
        for (at_ += 2; !(at(at_) == '*' && at(at_ + 1) == '/'); at_++) {
          if (at_ >= text_.size()) throw TextError(begun, "a comment that does not end");
          if (text_[at_] == '\n') line_++;
        }
        at_ += 2;
      } else
        return;
    }
  }

  Word read() {
    skip_space();
    if (at_ >= text_.size()) return {Word::Kind::end, "the end of the text", line_};
    size_t begin = at_;
    char c = text_[at_];
    Word::Kind kind = Word::Kind::sign;
    if (starts_name(c)) {
      kind = Word::Kind::name;
      at_++;
      while (goes_on(at(at_)) || (at(at_) == ':' && at(at_ + 1) == ':' && goes_on(at(at_ + 2))))
        at_ += at(at_) == ':' ? 2 : 1;
    } else if (isdigit(static_cast<unsigned char>(c))) {
      kind = Word::Kind::number;
      char form = at(at_ + 1);
      bool is_decimal = !(c == '0' && form && strchr("xXfFdDbB", form));
      at_++;
      while (goes_on(at(at_)) ||
             (is_decimal && (at(at_) == '-' || at(at_) == '+') && (at(at_ - 1) == 'e' || at(at_ - 1) == 'E')))
        at_++;
    } else if (c == '"') {
      kind = Word::Kind::string;
      at_++;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n') at_ += text_[at_] == '\\' ? 2 : 1;
      if (at(at_) != '"') throw TextError(line_, "a string that does not end");
      at_++;
    } else if ((c == '<' || c == '>') && at(at_ + 1) == c) {
      at_ += 2;
    } else {
      at_++;
    }
    return {kind, text_.substr(begin, at_ - begin), line_};
  }

  std::string_view text_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  Word next_;
};

}  // namespace cuda_on_cpu

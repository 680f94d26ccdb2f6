#include "backend/sim/ptx_entries.h"

namespace calypte::sim {
namespace {

bool begins_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%' || c == '.';
}
bool in_word(char c) { return begins_word(c) || (c >= '0' && c <= '9'); }

// One past the comment or string that begins at `at`, or `at` if none does.
size_t skip_opaque(const std::string &text, size_t at) {
  const auto past = [&](size_t found, size_t length) {
    return found == std::string::npos ? text.size() : found + length;
  };
  if (text.compare(at, 2, "//") == 0) return past(text.find('\n', at), 1);
  if (text.compare(at, 2, "/*") == 0) return past(text.find("*/", at + 2), 2);
  if (text[at] == '"') return past(text.find('"', at + 1), 1);
  return at;
}

}  // namespace

PtxEntries scan_ptx(const std::string &text) {
  PtxEntries found;
  bool name_follows = false;
  size_t at = 0;
  while (at < text.size()) {
    if (const size_t behind = skip_opaque(text, at); behind != at) {
      at = behind;
      continue;
    }
    if (!begins_word(text[at])) {
      at += 1;
      continue;
    }
    const size_t begin = at;
    do at += 1;
    while (at < text.size() && in_word(text[at]) && text[at] != '.');
    const std::string word = text.substr(begin, at - begin);
    if (name_follows) found.names.push_back(word);
    name_follows = word == ".entry";
    found.is_ptx = found.is_ptx || name_follows || word == ".version";
  }
  return found;
}

}  // namespace calypte::sim

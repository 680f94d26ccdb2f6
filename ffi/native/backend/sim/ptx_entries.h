// Which kernels does a PTX text declare? Their names only; nothing here judges the rest of the text.
#pragma once

#include <string>
#include <vector>

namespace calypte::sim {

struct PtxEntries {
  bool is_ptx = false;  // a .version directive or an entry was seen
  std::vector<std::string> names;
};

PtxEntries scan_ptx(const std::string &text);

}  // namespace calypte::sim

// Does the interpreter take every PTX text of the tree? PTX_ZOO=folder adds those of a developer's own.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "ptx/ptx.h"

namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

std::vector<fs::path> texts(const fs::path &folder) {
  std::vector<fs::path> list;
  for (const auto &entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() == ".ptx") list.push_back(entry.path());
  }
  std::sort(list.begin(), list.end());
  return list;
}

}  // namespace

TEST_CASE("every committed PTX text is taken, but for those that are refused by name") {
  // The path from the root, and what the error has to say.
  const std::map<std::string, std::string> refused = {};
  const fs::path root = SOURCE_TREE;
  size_t count = 0, refusals = 0;
  for (const char *folder : {"ffi/native/kernels", "examples/bundles", "bench", "tests/fixtures"}) {
    for (const fs::path &path : texts(root / folder)) {
      std::string name = fs::relative(path, root).string(), error;
      CAPTURE(name);
      auto module = cuda_on_cpu::Module::parse(text_of(path), 90, &error);
      auto known = refused.find(name);
      if (known == refused.end()) {
        CHECK_MESSAGE(module, error);
        if (module) CHECK_FALSE(module->kernels().empty());
      } else {
        refusals++;
        CHECK_FALSE(module);
        CHECK_MESSAGE(error.find(known->second) != std::string::npos, error);
      }
      count++;
    }
  }
  CHECK(count > 50);
  CHECK(refusals == refused.size());
}

TEST_CASE("the zoo of a developer who has one is taken") {
  const char *zoo = getenv("PTX_ZOO");
  if (!zoo) return;
  for (const fs::path &path : texts(zoo)) {
    std::string name = path.filename().string(), error;
    CAPTURE(name);
    CHECK_MESSAGE(cuda_on_cpu::Module::parse(text_of(path), 90, &error), error);
  }
}

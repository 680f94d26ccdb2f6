// A module: its variables in host memory, and its kernels.
#include "ptx/ptx.h"

#include <algorithm>
#include <cstdlib>

#include "ptx/coder.h"

namespace cuda_on_cpu {
namespace {

constexpr size_t kVariableAlignment = 512;  // what the drivers' allocations have

struct Free {
  void operator()(uint8_t *p) const { free(p); }
};

uint32_t size_of_element(const Variable &v) { return bytes_of_type(v.type.substr(1)); }

}  // namespace

struct Module::Contents {
  std::string text;  // everything else points into it
  ModuleText parsed;
  Surroundings surroundings;
  std::vector<std::unique_ptr<uint8_t, Free>> memory;
  std::vector<Global> globals;
  std::deque<Program> programs;
  std::deque<Kernel> kernels;

  void place(const Variable &v) {
    if (v.is_extern)
      throw TextError(v.line, "the variable " + std::string(v.name) + " is in another module: not supported");
    uint64_t elements = v.is_array ? std::max<uint64_t>(v.elements, v.elements == 0 ? v.values.size() : 0) : 1;
    uint64_t bytes = std::max<uint64_t>(1, size_of_element(v) * v.vector * elements);
    size_t whole = (bytes + kVariableAlignment - 1) / kVariableAlignment * kVariableAlignment;
    auto *p = static_cast<uint8_t *>(aligned_alloc(kVariableAlignment, whole));
    if (!p) throw TextError(v.line, "no memory for the variable " + std::string(v.name));
    memset(p, 0, whole);
    memory.emplace_back(p);
    auto address = reinterpret_cast<uint64_t>(p);
    globals.push_back({std::string(v.name), address, bytes});
    surroundings.addresses[v.name] = address;
  }

  // Variables may point at each other, so all have their places before any has its value.
  void fill(const Variable &v) {
    uint32_t each = size_of_element(v);
    auto *p = reinterpret_cast<uint8_t *>(surroundings.addresses[v.name]);
    for (const Operand &o : v.values) {
      uint64_t value = static_cast<uint64_t>(o.value);
      if (o.kind == Operand::Kind::name) {
        auto found = surroundings.addresses.find(o.name);
        if (found == surroundings.addresses.end())
          throw TextError(v.line, "'" + std::string(o.name) + "' in the value of " + std::string(v.name) +
                                      " is no variable: not supported");
        value += found->second;
      } else if (v.type[1] == 'f' && o.kind != Operand::Kind::f32 && each == 4) {
        float f;
        if (o.kind == Operand::Kind::f64) {
          double d;
          memcpy(&d, &o.value, 8);
          f = static_cast<float>(d);
        } else {
          f = static_cast<float>(o.value);
        }
        memcpy(&value, &f, 4);
      } else if (v.type[1] == 'f' && o.kind == Operand::Kind::integer && each == 8) {
        double d = static_cast<double>(o.value);
        memcpy(&value, &d, 8);
      }
      if (static_cast<uint64_t>(p - reinterpret_cast<uint8_t *>(surroundings.addresses[v.name])) + each >
          globals[index(v)].size) {
        throw TextError(v.line, "the variable " + std::string(v.name) + " has more values than elements");
      }
      memcpy(p, &value, std::min(each, 8u));
      p += each;
    }
  }
  size_t index(const Variable &v) const {
    return static_cast<size_t>(
        std::find_if(globals.begin(), globals.end(), [&](const Global &g) { return g.name == v.name; }) -
        globals.begin());
  }

  void compile(const Function &f) {
    // What the first pass finds out about constants and shared memory, the second one needs from the beginning.
    Coder trial(surroundings, f, 0, 0);
    Program measured = trial.code();
    auto constants = static_cast<uint32_t>((measured.constants.size() + 63) / 64 * 64);
    Coder coder(surroundings, f, constants, measured.shared_bytes);
    programs.push_back(coder.code());
    Program &p = programs.back();
    p.name = f.name;
    Kernel k;
    k.name = f.name;
    k.parameters = coder.parameters();
    k.shared_bytes = p.shared_bytes;
    k.local_bytes = p.local_bytes;
    k.max_threads = std::min(1024u, f.max_threads);
    k.registers = std::clamp<uint32_t>((p.register_bytes - constants) / 128 / 4, 16, 255);
    for (size_t c = 0; c < 3; c++) k.cluster[c] = f.cluster[c];
    k.program = &p;
    kernels.push_back(std::move(k));
  }
};

Module::Module(std::unique_ptr<Contents> contents) : contents_(std::move(contents)) {}
Module::~Module() = default;

std::unique_ptr<Module> Module::parse(std::string_view ptx, uint32_t newest_version, std::string *error) {
  auto c = std::make_unique<Contents>();
  // Drivers take the text with the zero that ends it.
  c->text = ptx.substr(0, ptx.find('\0'));
  try {
    c->parsed = read_module(c->text, newest_version);
    c->surroundings.text = &c->parsed;
    for (const Variable &v : c->parsed.variables) {
      if (v.space != ".shared") c->place(v);
    }
    for (const Variable &v : c->parsed.variables) {
      if (v.space != ".shared") c->fill(v);
    }
    for (const Function &f : c->parsed.functions) {
      // A declaration may stand in front of the function itself.
      const Function *&known = c->surroundings.functions[f.name];
      if (!known || f.has_body) known = &f;
    }
    for (const Function &f : c->parsed.functions) {
      if (f.is_kernel && f.has_body) c->compile(f);
    }
  } catch (const TextError &e) {
    if (error) *error = e.what();
    return nullptr;
  }
  return std::unique_ptr<Module>(new Module(std::move(c)));
}

const Kernel *Module::kernel(std::string_view name) const {
  for (const Kernel &k : contents_->kernels) {
    if (k.name == name) return &k;
  }
  return nullptr;
}

const Global *Module::global(std::string_view name) const {
  for (const Global &g : contents_->globals) {
    if (g.name == name) return &g;
  }
  return nullptr;
}

std::vector<const Kernel *> Module::kernels() const {
  std::vector<const Kernel *> list;
  for (const Kernel &k : contents_->kernels) list.push_back(&k);
  return list;
}

}  // namespace cuda_on_cpu
